"""GoogLeNet and ResNet-50 as Caffe trains them, written with NetSpec.

The layers and their settings are those of Szegedy et al. 2015 (with both auxiliary
classifiers) and He et al. 2016 (BatchNorm and Scale after every convolution, in place).
"""

from __future__ import annotations

from typing import Any

import caffe
from caffe import layers as L
from caffe import params as P

WEIGHTS = {"weight_filler": {"type": "xavier"}, "bias_filler": {"type": "constant", "value": 0.2}}
FACTORS = [{"lr_mult": 1, "decay_mult": 1}, {"lr_mult": 2, "decay_mult": 0}]


def data(batch: int, size: int, mean: list[float]) -> Any:
    """Images and labels of the LMDB ``lmdb``, cropped and mirrored."""
    return L.Data(
        source="lmdb",
        backend=P.Data.LMDB,
        batch_size=batch,
        ntop=2,
        transform_param={"mirror": True, "crop_size": size, "mean_value": mean},
    )


# -- GoogLeNet ----------------------------------------------------------------------------

# outputs of: 1x1, 3x3 reduce, 3x3, 5x5 reduce, 5x5, pool proj
INCEPTIONS = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}


def _conv_relu(n: Any, name: str, bottom: Any, outputs: int, kernel: int, **more: Any) -> Any:
    conv = L.Convolution(
        bottom, num_output=outputs, kernel_size=kernel, param=FACTORS, **WEIGHTS, **more
    )
    n[name] = conv
    n[f"{name}/relu"] = L.ReLU(conv, in_place=True)
    return n[f"{name}/relu"]


def _max_pool(n: Any, name: str, bottom: Any, kernel: int, stride: int, pad: int = 0) -> Any:
    n[name] = L.Pooling(bottom, pool=P.Pooling.MAX, kernel_size=kernel, stride=stride, pad=pad)
    return n[name]


def _inception(n: Any, number: str, bottom: Any) -> Any:
    one, three_reduce, three, five_reduce, five, proj = INCEPTIONS[number]
    name = f"inception_{number}"
    branches = [_conv_relu(n, f"{name}/1x1", bottom, one, 1)]
    reduced = _conv_relu(n, f"{name}/3x3_reduce", bottom, three_reduce, 1)
    branches.append(_conv_relu(n, f"{name}/3x3", reduced, three, 3, pad=1))
    reduced = _conv_relu(n, f"{name}/5x5_reduce", bottom, five_reduce, 1)
    branches.append(_conv_relu(n, f"{name}/5x5", reduced, five, 5, pad=2))
    pooled = _max_pool(n, f"{name}/pool", bottom, 3, 1, 1)
    branches.append(_conv_relu(n, f"{name}/pool_proj", pooled, proj, 1))
    n[f"{name}/output"] = L.Concat(*branches)
    return n[f"{name}/output"]


def _auxiliary_loss(n: Any, number: int, bottom: Any, classes: int) -> None:
    name = f"loss{number}"
    n[f"{name}/ave_pool"] = L.Pooling(bottom, pool=P.Pooling.AVE, kernel_size=5, stride=3)
    conv = _conv_relu(n, f"{name}/conv", n[f"{name}/ave_pool"], 128, 1)
    n[f"{name}/fc"] = L.InnerProduct(conv, num_output=1024, param=FACTORS, **WEIGHTS)
    n[f"{name}/relu_fc"] = L.ReLU(n[f"{name}/fc"], in_place=True)
    n[f"{name}/drop_fc"] = L.Dropout(n[f"{name}/relu_fc"], dropout_ratio=0.7, in_place=True)
    n[f"{name}/classifier"] = L.InnerProduct(
        n[f"{name}/drop_fc"], num_output=classes, param=FACTORS, **WEIGHTS
    )
    n[f"{name}/loss"] = L.SoftmaxWithLoss(n[f"{name}/classifier"], n.label, loss_weight=0.3)


def googlenet(batch: int, classes: int = 1000) -> Any:
    """GoogLeNet with its three classifiers, for images of 224 x 224."""
    n = caffe.NetSpec()
    n.data, n.label = data(batch, 224, [104, 117, 123])
    x = _conv_relu(n, "conv1/7x7_s2", n.data, 64, 7, stride=2, pad=3)
    n["pool1/norm1"] = L.LRN(_max_pool(n, "pool1/3x3_s2", x, 3, 2), local_size=5, alpha=1e-4)
    x = _conv_relu(n, "conv2/3x3_reduce", n["pool1/norm1"], 64, 1)
    x = _conv_relu(n, "conv2/3x3", x, 192, 3, pad=1)
    n["conv2/norm2"] = L.LRN(x, local_size=5, alpha=1e-4)
    x = _max_pool(n, "pool2/3x3_s2", n["conv2/norm2"], 3, 2)
    for number in INCEPTIONS:
        x = _inception(n, number, x)
        if number == "3b":
            x = _max_pool(n, "pool3/3x3_s2", x, 3, 2)
        elif number == "4a":
            _auxiliary_loss(n, 1, x, classes)
        elif number == "4d":
            _auxiliary_loss(n, 2, x, classes)
        elif number == "4e":
            x = _max_pool(n, "pool4/3x3_s2", x, 3, 2)
    n["pool5/7x7_s1"] = L.Pooling(x, pool=P.Pooling.AVE, kernel_size=7, stride=1)
    n["pool5/drop"] = L.Dropout(n["pool5/7x7_s1"], dropout_ratio=0.4, in_place=True)
    n["loss3/classifier"] = L.InnerProduct(
        n["pool5/drop"], num_output=classes, param=FACTORS, **WEIGHTS
    )
    n.loss = L.SoftmaxWithLoss(n["loss3/classifier"], n.label)
    net = n.to_proto()
    net.name = "GoogLeNet"
    return net


# -- ResNet-50 ----------------------------------------------------------------------------

# stage: blocks, channels within, stride of the first block
STAGES = {"2": (3, 64, 1), "3": (4, 128, 2), "4": (6, 256, 2), "5": (3, 512, 2)}


def _conv_norm(
    n: Any, name: str, bottom: Any, outputs: int, kernel: int, stride: int = 1, relu: bool = True
) -> Any:
    n[name] = L.Convolution(
        bottom, num_output=outputs, kernel_size=kernel, stride=stride, pad=kernel // 2,
        bias_term=False, param=[{"lr_mult": 1, "decay_mult": 1}], weight_filler={"type": "msra"},
    )  # fmt: skip
    n[f"bn_{name}"] = L.BatchNorm(n[name], in_place=True)
    n[f"scale_{name}"] = L.Scale(n[f"bn_{name}"], bias_term=True, in_place=True)
    if not relu:
        return n[f"scale_{name}"]
    n[f"{name}_relu"] = L.ReLU(n[f"scale_{name}"], in_place=True)
    return n[f"{name}_relu"]


def _bottleneck(n: Any, name: str, bottom: Any, channels: int, stride: int, first: bool) -> Any:
    shortcut = bottom
    if first:
        shortcut = _conv_norm(n, f"{name}_branch1", bottom, 4 * channels, 1, stride, relu=False)
    x = _conv_norm(n, f"{name}_branch2a", bottom, channels, 1, stride)
    x = _conv_norm(n, f"{name}_branch2b", x, channels, 3)
    x = _conv_norm(n, f"{name}_branch2c", x, 4 * channels, 1, relu=False)
    n[name] = L.Eltwise(shortcut, x)
    n[f"{name}_relu"] = L.ReLU(n[name], in_place=True)
    return n[f"{name}_relu"]


def resnet50(batch: int, classes: int = 1000) -> Any:
    """ResNet-50 for images of 224 x 224."""
    n = caffe.NetSpec()
    n.data, n.label = data(batch, 224, [104, 117, 123])
    x = _conv_norm(n, "conv1", n.data, 64, 7, 2)
    x = _max_pool(n, "pool1", x, 3, 2)
    for stage, (blocks, channels, stride) in STAGES.items():
        for block in range(blocks):
            name = f"res{stage}{chr(ord('a') + block)}"
            x = _bottleneck(n, name, x, channels, stride if block == 0 else 1, block == 0)
    n.pool5 = L.Pooling(x, pool=P.Pooling.AVE, global_pooling=True)
    n.fc = L.InnerProduct(n.pool5, num_output=classes, param=FACTORS, **WEIGHTS)
    n.loss = L.SoftmaxWithLoss(n.fc, n.label)
    net = n.to_proto()
    net.name = "ResNet-50"
    return net
