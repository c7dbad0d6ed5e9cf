"""The benchmarks' nets as one would write them in bare PyTorch; each gives its loss."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

INCEPTIONS = {
    "3a": (192, 64, 96, 128, 16, 32, 32),
    "3b": (256, 128, 128, 192, 32, 96, 64),
    "4a": (480, 192, 96, 208, 16, 48, 64),
    "4b": (512, 160, 112, 224, 24, 64, 64),
    "4c": (512, 128, 128, 256, 24, 64, 64),
    "4d": (512, 112, 144, 288, 32, 64, 64),
    "4e": (528, 256, 160, 320, 32, 128, 128),
    "5a": (832, 256, 160, 320, 32, 128, 128),
    "5b": (832, 384, 192, 384, 48, 128, 128),
}


class Classifier(nn.Module):
    """Layers one after the other, and softmax with cross entropy."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        return cross_entropy(self.layers(images), labels)


def lenet() -> nn.Module:
    return Classifier(
        nn.Conv2d(1, 20, 5),
        nn.MaxPool2d(2, ceil_mode=True),
        nn.Conv2d(20, 50, 5),
        nn.MaxPool2d(2, ceil_mode=True),
        nn.Flatten(),
        nn.Linear(800, 500),
        nn.ReLU(inplace=True),
        nn.Linear(500, 26),
    )


def caffenet() -> nn.Module:
    return Classifier(
        nn.Conv2d(3, 96, 11, stride=4),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2, ceil_mode=True),
        nn.LocalResponseNorm(5),
        nn.Conv2d(96, 256, 5, padding=2, groups=2),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2, ceil_mode=True),
        nn.LocalResponseNorm(5),
        nn.Conv2d(256, 384, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(384, 384, 3, padding=1, groups=2),
        nn.ReLU(inplace=True),
        nn.Conv2d(384, 256, 3, padding=1, groups=2),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2, ceil_mode=True),
        nn.Flatten(),
        nn.Linear(9216, 4096),
        nn.ReLU(inplace=True),
        nn.Dropout(0.5),
        nn.Linear(4096, 4096),
        nn.ReLU(inplace=True),
        nn.Dropout(0.5),
        nn.Linear(4096, 1000),
    )


def _conv(inputs: int, outputs: int, kernel: int, **more: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, **more), nn.ReLU(inplace=True))


class Inception(nn.Module):
    def __init__(self, inputs: int, one: int, three_reduce: int, three: int, five_reduce: int,
                 five: int, proj: int) -> None:  # fmt: skip
        super().__init__()
        self.one = _conv(inputs, one, 1)
        self.three = nn.Sequential(
            _conv(inputs, three_reduce, 1), _conv(three_reduce, three, 3, padding=1)
        )
        self.five = nn.Sequential(
            _conv(inputs, five_reduce, 1), _conv(five_reduce, five, 5, padding=2)
        )
        self.pool = nn.Sequential(nn.MaxPool2d(3, 1, 1), _conv(inputs, proj, 1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.one(x), self.three(x), self.five(x), self.pool(x)], 1)


def _auxiliary(inputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.AvgPool2d(5, 3, ceil_mode=True),
        _conv(inputs, 128, 1),
        nn.Flatten(),
        nn.Linear(2048, 1024),
        nn.ReLU(inplace=True),
        nn.Dropout(0.7),
        nn.Linear(1024, 1000),
    )


class GoogLeNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        blocks = {name: Inception(*sizes) for name, sizes in INCEPTIONS.items()}
        self.start = nn.Sequential(
            _conv(3, 64, 7, stride=2, padding=3),
            nn.MaxPool2d(3, 2, ceil_mode=True),
            nn.LocalResponseNorm(5),
            _conv(64, 64, 1),
            _conv(64, 192, 3, padding=1),
            nn.LocalResponseNorm(5),
            nn.MaxPool2d(3, 2, ceil_mode=True),
            blocks["3a"],
            blocks["3b"],
            nn.MaxPool2d(3, 2, ceil_mode=True),
            blocks["4a"],
        )
        self.middle = nn.Sequential(blocks["4b"], blocks["4c"], blocks["4d"])
        self.end = nn.Sequential(
            blocks["4e"],
            nn.MaxPool2d(3, 2, ceil_mode=True),
            blocks["5a"],
            blocks["5b"],
            nn.AvgPool2d(7, 1),
            nn.Dropout(0.4),
            nn.Flatten(),
            nn.Linear(1024, 1000),
        )
        self.first, self.second = _auxiliary(512), _auxiliary(528)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        start = self.start(images)
        middle = self.middle(start)
        return (
            cross_entropy(self.end(middle), labels)
            + 0.3 * cross_entropy(self.first(start), labels)
            + 0.3 * cross_entropy(self.second(middle), labels)
        )


class Bottleneck(nn.Module):
    def __init__(self, inputs: int, channels: int, stride: int) -> None:
        super().__init__()
        self.shortcut: nn.Module = nn.Identity()
        if inputs != 4 * channels:
            self.shortcut = self._conv_norm(inputs, 4 * channels, 1, stride)
        self.residual = nn.Sequential(
            self._conv_norm(inputs, channels, 1, stride),
            nn.ReLU(inplace=True),
            self._conv_norm(channels, channels, 3, 1),
            nn.ReLU(inplace=True),
            self._conv_norm(channels, 4 * channels, 1, 1),
        )
        self.relu = nn.ReLU(inplace=True)

    @staticmethod
    def _conv_norm(inputs: int, outputs: int, kernel: int, stride: int) -> nn.Sequential:
        conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        return nn.Sequential(conv, nn.BatchNorm2d(outputs, momentum=0.001))

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.residual(x) + self.shortcut(x))


def resnet50() -> nn.Module:
    layers: list[nn.Module] = [
        nn.Conv2d(3, 64, 7, 2, 3),
        nn.BatchNorm2d(64, momentum=0.001),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2, ceil_mode=True),
    ]
    inputs = 64
    for blocks, channels, stride in ((3, 64, 1), (4, 128, 2), (6, 256, 2), (3, 512, 2)):
        for block in range(blocks):
            layers.append(Bottleneck(inputs, channels, stride if block == 0 else 1))
            inputs = 4 * channels
    return Classifier(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2048, 1000))


# what makes it, the shape of an image, and how many classes there are
NETS = {
    "lenet": (lenet, (1, 28, 28), 26),
    "caffenet": (caffenet, (3, 227, 227), 1000),
    "googlenet": (GoogLeNet, (3, 224, 224), 1000),
    "resnet50": (resnet50, (3, 224, 224), 1000),
}
