"""GoogLeNet with both auxiliary classifiers.

Source: Szegedy et al., Going deeper with convolutions, 2014; names as BVLC published it.
"""

from __future__ import annotations

from typing import Any

from caffe.net_spec import layers as L
from caffe.net_spec import params as P
from caffetools.pretrained.nets.parts import LEARNED, accuracy, constant, max_pool, norm, relu

# Outputs of 1x1, 3x3 reduce, 3x3, 5x5 reduce, 5x5, pool projection.
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
_XAVIER = {"type": "xavier"}


def googlenet(n: Any, classes: int) -> None:
    """Add the layers, the three classifiers with their losses and accuracies included."""
    x = _conv(n, "conv1", "7x7_s2", n.data, 64, 7, relu_name="relu_7x7", stride=2, pad=3)
    x = norm(n, "pool1/norm1", max_pool(n, "pool1/3x3_s2", x, 3, 2))
    x = _conv(n, "conv2", "3x3_reduce", x, 64, 1)
    x = norm(n, "conv2/norm2", _conv(n, "conv2", "3x3", x, 192, 3, pad=1))
    x = max_pool(n, "pool2/3x3_s2", x, 3, 2)
    for number in INCEPTIONS:
        x = _inception(n, number, x)
        if number == "3b":
            x = max_pool(n, "pool3/3x3_s2", x, 3, 2)
        elif number == "4a":
            _auxiliary(n, "loss1", x, classes)
        elif number == "4d":
            _auxiliary(n, "loss2", x, classes)
        elif number == "4e":
            x = max_pool(n, "pool4/3x3_s2", x, 3, 2)
    n["pool5/7x7_s1"] = L.Pooling(x, pool=P.Pooling.AVE, kernel_size=7, stride=1)
    n["pool5/drop_7x7_s1"] = L.Dropout(n["pool5/7x7_s1"], dropout_ratio=0.4, in_place=True)
    _judged(n, "loss3", "loss3/loss3", n["pool5/drop_7x7_s1"], classes, weight=1)


def _conv(
    n: Any,
    block: str,
    name: str,
    bottom: Any,
    outputs: int,
    kernel: int,
    relu_name: str = "",
    **more: Any,
) -> Any:
    n[f"{block}/{name}"] = L.Convolution(
        bottom,
        num_output=outputs,
        kernel_size=kernel,
        param=LEARNED,
        weight_filler=_XAVIER,
        bias_filler=constant(0.2),
        **more,
    )
    return relu(n, f"{block}/{relu_name or f'relu_{name}'}", n[f"{block}/{name}"])


def _inception(n: Any, number: str, bottom: Any) -> Any:
    one, three_reduce, three, five_reduce, five, projection = INCEPTIONS[number]
    block = f"inception_{number}"
    branches = [_conv(n, block, "1x1", bottom, one, 1)]
    x = _conv(n, block, "3x3_reduce", bottom, three_reduce, 1)
    branches.append(_conv(n, block, "3x3", x, three, 3, pad=1))
    x = _conv(n, block, "5x5_reduce", bottom, five_reduce, 1)
    branches.append(_conv(n, block, "5x5", x, five, 5, pad=2))
    x = max_pool(n, f"{block}/pool", bottom, 3, 1, pad=1)
    branches.append(_conv(n, block, "pool_proj", x, projection, 1))
    n[f"{block}/output"] = L.Concat(*branches)
    return n[f"{block}/output"]


def _auxiliary(n: Any, block: str, bottom: Any, classes: int) -> None:
    n[f"{block}/ave_pool"] = L.Pooling(bottom, pool=P.Pooling.AVE, kernel_size=5, stride=3)
    x = _conv(n, block, "conv", n[f"{block}/ave_pool"], 128, 1)
    n[f"{block}/fc"] = L.InnerProduct(
        x, num_output=1024, param=LEARNED, weight_filler=_XAVIER, bias_filler=constant(0.2)
    )
    x = relu(n, f"{block}/relu_fc", n[f"{block}/fc"])
    n[f"{block}/drop_fc"] = L.Dropout(x, dropout_ratio=0.7, in_place=True)
    _judged(n, block, f"{block}/loss1", n[f"{block}/drop_fc"], classes, weight=0.3)


def _judged(n: Any, block: str, loss: str, bottom: Any, classes: int, weight: float) -> None:
    scores = n[f"{block}/classifier"] = L.InnerProduct(
        bottom,
        num_output=classes,
        param=LEARNED,
        weight_filler=_XAVIER,
        bias_filler=constant(0),
    )
    n[loss] = L.SoftmaxWithLoss(scores, n.label, loss_weight=weight)
    accuracy(n, f"{block}/top-1", scores)
    accuracy(n, f"{block}/top-5", scores, top_k=5)
