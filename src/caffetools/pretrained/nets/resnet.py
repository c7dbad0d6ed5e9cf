"""ResNet-50, ResNet-101 and ResNet-152.

Source: He et al., Deep residual learning for image recognition, 2015; names as in the
authors' deploy nets, of which only the first convolution of ResNet-50 has a bias, and only
ResNet-50 letters its blocks; the other two count theirs from the second on in stages 3 and 4.
"""

from __future__ import annotations

import functools
from typing import Any

from caffe.net_spec import layers as L
from caffe.net_spec import params as P
from caffetools.pretrained.nets.parts import LEARNED, WEIGHTS, constant, judged, max_pool, relu

# Blocks of stages 2 to 5.
_BLOCKS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
_MSRA = {"type": "msra"}


def entrance(n: Any, depth: int) -> Any:
    """Add the layers from ``n.data`` to pool1, whose blob is given."""
    n.conv1 = _convolution(n.data, 64, 7, 2, bias=depth == 50)
    return max_pool(n, "pool1", relu(n, "conv1_relu", _normalized(n, "_conv1", n.conv1)), 3, 2)


def stage(n: Any, depth: int, number: int, x: Any) -> Any:
    """Add the layers of a stage, 2 to 5, after the blob ``x``, and give the last one's blob."""
    for index in range(_BLOCKS[depth][number - 2]):
        # Halves the resolution on entering each stage but the first.
        stride = 2 if index == 0 and number > 2 else 1
        x = _block(n, f"{number}{_letter(depth, number, index)}", x, 2 ** (number + 4), stride)
    return x


def _resnet(n: Any, classes: int, depth: int) -> None:
    x = entrance(n, depth)
    for number in range(2, 6):
        x = stage(n, depth, number, x)
    n.pool5 = L.Pooling(x, pool=P.Pooling.AVE, kernel_size=7, stride=1)
    n.fc1000 = L.InnerProduct(
        n.pool5, num_output=classes, param=LEARNED, weight_filler=_MSRA, bias_filler=constant(0)
    )
    judged(n, n.fc1000)


resnet50 = functools.partial(_resnet, depth=50)
resnet101 = functools.partial(_resnet, depth=101)
resnet152 = functools.partial(_resnet, depth=152)


def _letter(depth: int, stage: int, index: int) -> str:
    if depth > 50 and stage in (3, 4) and index > 0:
        return f"b{index}"
    return chr(ord("a") + index)


def _block(n: Any, name: str, bottom: Any, channels: int, stride: int) -> Any:
    """A bottleneck; the first of a stage brings its bottom to its own shape."""
    shortcut = bottom
    if name.endswith("a"):
        shortcut = _branch(n, name, "1", bottom, 4 * channels, 1, stride)
    x = _relu_of(n, name, "2a", _branch(n, name, "2a", bottom, channels, 1, stride))
    x = _relu_of(n, name, "2b", _branch(n, name, "2b", x, channels, 3, 1))
    x = _branch(n, name, "2c", x, 4 * channels, 1, 1)
    n[f"res{name}"] = L.Eltwise(shortcut, x)
    return relu(n, f"res{name}_relu", n[f"res{name}"])


def _relu_of(n: Any, name: str, branch: str, bottom: Any) -> Any:
    """The ReLU of a branch."""
    return relu(n, f"res{name}_branch{branch}_relu", bottom)


def _branch(
    n: Any, name: str, branch: str, bottom: Any, outputs: int, kernel: int, stride: int
) -> Any:
    conv = n[f"res{name}_branch{branch}"] = _convolution(bottom, outputs, kernel, stride)
    return _normalized(n, f"{name}_branch{branch}", conv)


def _convolution(bottom: Any, outputs: int, kernel: int, stride: int, bias: bool = False) -> Any:
    more = {"bias_filler": constant(0)} if bias else {"bias_term": False}
    return L.Convolution(
        bottom,
        num_output=outputs,
        pad=kernel // 2,
        kernel_size=kernel,
        stride=stride,
        param=LEARNED if bias else [WEIGHTS],
        weight_filler=_MSRA,
        **more,
    )


def _normalized(n: Any, name: str, bottom: Any) -> Any:
    n[f"bn{name}"] = L.BatchNorm(bottom, in_place=True)
    n[f"scale{name}"] = L.Scale(n[f"bn{name}"], bias_term=True, in_place=True)
    return n[f"scale{name}"]
