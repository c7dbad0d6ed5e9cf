"""Time training steps of a bare PyTorch loop, the data in memory; print them as JSON."""

from __future__ import annotations

import argparse
import json
import sys
import time

import torch
from torch import nn


def lenet() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 20, 5),
        nn.MaxPool2d(2, ceil_mode=True),
        nn.Conv2d(20, 50, 5),
        nn.MaxPool2d(2, ceil_mode=True),
        nn.Flatten(),
        nn.Linear(800, 500),
        nn.ReLU(inplace=True),
        nn.Linear(500, 26),
    )


def caffenet() -> nn.Sequential:
    return nn.Sequential(
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


NETS = {"lenet": (lenet, (1, 28, 28), 26), "caffenet": (caffenet, (3, 227, 227), 1000)}


def optimizer(net: nn.Module) -> torch.optim.SGD:
    """Weights and biases with Caffe's usual lr_mult of 1 and 2."""
    biases = [p for name, p in net.named_parameters() if name.endswith("bias")]
    weights = [p for name, p in net.named_parameters() if not name.endswith("bias")]
    groups = [{"params": weights}, {"params": biases, "lr": 0.02}]
    return torch.optim.SGD(groups, lr=0.01, momentum=0.9, weight_decay=0.0005)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--net", choices=sorted(NETS), required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--warm-up", type=int, required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--chunks", type=int, required=True)
    options = parser.parse_args()

    torch.manual_seed(0)
    make, shape, classes = NETS[options.net]
    net = make()
    learner = optimizer(net)
    images = torch.rand(options.batch, *shape) - 0.5
    labels = torch.randint(classes, (options.batch,))

    def step(count: int) -> float:
        start = time.perf_counter()
        for _ in range(count):
            learner.zero_grad()
            loss = nn.functional.cross_entropy(net(images), labels)
            loss.backward()
            learner.step()
        loss.item()
        return time.perf_counter() - start

    warm_up = step(options.warm_up)
    seconds = [step(options.steps) / options.steps for _ in range(options.chunks)]
    loss = nn.functional.cross_entropy(net(images), labels).item()
    json.dump({"seconds": seconds, "warm_up": warm_up, "loss": loss}, sys.stdout)


if __name__ == "__main__":
    main()
