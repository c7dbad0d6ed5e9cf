"""AlexNet and BVLC's variants of it: CaffeNet, and R-CNN, which is CaffeNet with another head.

Source: Krizhevsky et al., ImageNet classification with deep convolutional neural networks,
2012. CaffeNet pools before it normalizes; R-CNN's head is a layer of 200 detectors.
"""

from __future__ import annotations

from typing import Any

from caffe.net_spec import layers as L
from caffetools.pretrained.nets.parts import (
    LEARNED,
    accuracy,
    constant,
    gaussian,
    max_pool,
    norm,
    relu,
)


def alexnet(n: Any, classes: int) -> None:
    """Add the layers of AlexNet, which normalizes before it pools."""

    def shrunk(number: int, conv: Any) -> Any:
        return max_pool(n, f"pool{number}", norm(n, f"norm{number}", conv), 3, 2)

    _judged(n, _head(n, "fc8", _trunk(n, shrunk, bias=0.1), classes))


def caffenet(n: Any, classes: int) -> None:
    """Add the layers of CaffeNet."""
    _judged(n, _head(n, "fc8", _caffenet_trunk(n), classes))


def rcnn(n: Any, classes: int) -> None:
    """Add the layers of R-CNN as BVLC published it."""
    _judged(n, _head(n, "fc-rcnn", _caffenet_trunk(n), classes))


def _caffenet_trunk(n: Any) -> Any:
    def shrunk(number: int, conv: Any) -> Any:
        return norm(n, f"norm{number}", max_pool(n, f"pool{number}", conv, 3, 2))

    return _trunk(n, shrunk, bias=1)


def _trunk(n: Any, shrunk: Any, bias: float) -> Any:
    """Up to fc7; ``bias`` fills those of conv2, conv4, conv5, fc6 and fc7, 0 the others."""
    x = shrunk(1, _conv(n, 1, n.data, 96, 0, kernel_size=11, stride=4))
    x = shrunk(2, _conv(n, 2, x, 256, bias, pad=2, kernel_size=5, group=2))
    x = _conv(n, 3, x, 384, 0, pad=1, kernel_size=3)
    x = _conv(n, 4, x, 384, bias, pad=1, kernel_size=3, group=2)
    x = _conv(n, 5, x, 256, bias, pad=1, kernel_size=3, group=2)
    x = max_pool(n, "pool5", x, 3, 2)
    for number in (6, 7):
        n[f"fc{number}"] = L.InnerProduct(
            x,
            num_output=4096,
            param=LEARNED,
            weight_filler=gaussian(0.005),
            bias_filler=constant(bias),
        )
        x = relu(n, f"relu{number}", n[f"fc{number}"])
        x = n[f"drop{number}"] = L.Dropout(x, dropout_ratio=0.5, in_place=True)
    return x


def _conv(n: Any, number: int, bottom: Any, outputs: int, bias: float, **more: Any) -> Any:
    n[f"conv{number}"] = L.Convolution(
        bottom,
        num_output=outputs,
        param=LEARNED,
        weight_filler=gaussian(0.01),
        bias_filler=constant(bias),
        **more,
    )
    return relu(n, f"relu{number}", n[f"conv{number}"])


def _head(n: Any, name: str, bottom: Any, classes: int) -> Any:
    n[name] = L.InnerProduct(
        bottom,
        num_output=classes,
        param=LEARNED,
        weight_filler=gaussian(0.01),
        bias_filler=constant(0),
    )
    return n[name]


def _judged(n: Any, scores: Any) -> None:
    accuracy(n, "accuracy", scores)
    n.loss = L.SoftmaxWithLoss(scores, n.label)
