"""MobileNet v1 and v2, of width 1.

Source: Howard et al., MobileNets, 2017; Sandler et al., MobileNetV2, 2018. Names as Shicai
Yang published them for Caffe, whose v2 differs from the paper in three ways: its first block
expands as well, to the 32 channels that it has; its ReLU has no upper bound; and it halves
the resolution where 96 channels begin instead of where 64 do.
"""

from __future__ import annotations

from typing import Any

from caffe.net_spec import layers as L
from caffe.net_spec import params as P
from caffetools.pretrained.nets.parts import LEARNED, WEIGHTS, constant, judged, relu

# Outputs and stride of each pair of a convolution by channel and one over all channels.
_PAIRS = {
    "2_1": (64, 1),
    "2_2": (128, 2),
    "3_1": (128, 1),
    "3_2": (256, 2),
    "4_1": (256, 1),
    "4_2": (512, 2),
    **{f"5_{index}": (512, 1) for index in range(1, 6)},
    "5_6": (1024, 2),
    "6": (1024, 1),
}
# Outputs and stride of each block, which expands to six times its inputs.
_BLOCKS = {
    "2_1": (16, 1),
    "2_2": (24, 2),
    "3_1": (24, 1),
    "3_2": (32, 2),
    "4_1": (32, 1),
    "4_2": (32, 1),
    "4_3": (64, 1),
    "4_4": (64, 1),
    "4_5": (64, 1),
    "4_6": (64, 1),
    "4_7": (96, 2),
    "5_1": (96, 1),
    "5_2": (96, 1),
    "5_3": (160, 2),
    "6_1": (160, 1),
    "6_2": (160, 1),
    "6_3": (320, 1),
}
_MSRA = {"type": "msra"}
_SCALED = [{"lr_mult": 1, "decay_mult": 0}] * 2


def mobilenet_v1(n: Any, classes: int) -> None:
    """Add the layers of MobileNet v1; BatchNorm works in place."""
    x = relu(n, "relu1", _conv(n, "conv1", n.data, 32, True, pad=1, kernel_size=3, stride=2))
    inputs = 32
    for name, (outputs, stride) in _PAIRS.items():
        x = _by_channel(n, f"conv{name}/dw", x, inputs, stride, in_place=True)
        x = relu(n, f"relu{name}/dw", x)
        x = relu(n, f"relu{name}/sep", _conv(n, f"conv{name}/sep", x, outputs, True, kernel_size=1))
        inputs = outputs
    _head(n, x, classes)


def mobilenet_v2(n: Any, classes: int) -> None:
    """Add the layers of MobileNet v2; BatchNorm has a blob of its own."""
    x = relu(n, "relu1", _conv(n, "conv1", n.data, 32, False, pad=1, kernel_size=3, stride=2))
    inputs = 32
    for name, (outputs, stride) in _BLOCKS.items():
        shortcut = x
        # The first block has as many as conv1, and its expansion keeps them.
        expanded = inputs if name == "2_1" else 6 * inputs
        x = _conv(n, f"conv{name}/expand", x, expanded, False, kernel_size=1)
        x = relu(n, f"relu{name}/expand", x)
        x = _by_channel(n, f"conv{name}/dwise", x, expanded, stride, in_place=False)
        x = relu(n, f"relu{name}/dwise", x)
        x = _conv(n, f"conv{name}/linear", x, outputs, False, kernel_size=1)
        if stride == 1 and inputs == outputs:
            x = n[f"block_{name}"] = L.Eltwise(shortcut, x)
        inputs = outputs
    _head(n, relu(n, "relu6_4", _conv(n, "conv6_4", x, 1280, False, kernel_size=1)), classes)


def _by_channel(n: Any, name: str, bottom: Any, channels: int, stride: int, in_place: bool) -> Any:
    return _conv(
        n, name, bottom, channels, in_place, pad=1, kernel_size=3, group=channels, stride=stride
    )  # fmt: skip


def _conv(n: Any, name: str, bottom: Any, outputs: int, in_place: bool, **more: Any) -> Any:
    n[name] = L.Convolution(
        bottom,
        num_output=outputs,
        bias_term=False,
        param=[WEIGHTS],
        weight_filler=_MSRA,
        **more,
    )
    n[f"{name}/bn"] = L.BatchNorm(n[name], in_place=in_place)
    n[f"{name}/scale"] = L.Scale(n[f"{name}/bn"], bias_term=True, in_place=True, param=_SCALED)
    return n[f"{name}/scale"]


def _head(n: Any, bottom: Any, classes: int) -> None:
    n.pool6 = L.Pooling(bottom, pool=P.Pooling.AVE, global_pooling=True)
    n.fc7 = L.Convolution(
        n.pool6,
        num_output=classes,
        kernel_size=1,
        param=LEARNED,
        weight_filler=_MSRA,
        bias_filler=constant(0),
    )
    judged(n, n.fc7)
