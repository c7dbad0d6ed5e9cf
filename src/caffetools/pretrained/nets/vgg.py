"""VGG-16 and VGG-19: configurations D and E.

Source: Simonyan and Zisserman, Very deep convolutional networks for large-scale image
recognition, 2014, whose fillers these are; names as in the authors' deploy nets.
"""

from __future__ import annotations

from typing import Any

from caffe.net_spec import layers as L
from caffetools.pretrained.nets.parts import LEARNED, constant, gaussian, judged, max_pool, relu

# Convolutions of each stage, by how many layers with weights there are in all.
_STAGES = {16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
_OUTPUTS = (64, 128, 256, 512, 512)
_FILLERS = {"weight_filler": gaussian(0.01), "bias_filler": constant(0)}


def vgg16(n: Any, classes: int) -> None:
    """Add the layers of VGG-16."""
    _vgg(n, 16, classes)


def vgg19(n: Any, classes: int) -> None:
    """Add the layers of VGG-19."""
    _vgg(n, 19, classes)


def convolutions(n: Any, depth: int) -> Any:
    """Add the layers between ``n.data`` and pool5, and give the last one's blob."""
    x = n.data
    for stage, (count, outputs) in enumerate(zip(_STAGES[depth], _OUTPUTS), start=1):
        if stage > 1:
            x = max_pool(n, f"pool{stage - 1}", x, 2, 2)
        for index in range(1, count + 1):
            conv = n[f"conv{stage}_{index}"] = L.Convolution(
                x, num_output=outputs, pad=1, kernel_size=3, param=LEARNED, **_FILLERS
            )
            x = relu(n, f"relu{stage}_{index}", conv)
    return x


def _vgg(n: Any, depth: int, classes: int) -> None:
    x = max_pool(n, "pool5", convolutions(n, depth), 2, 2)
    for number in (6, 7):
        n[f"fc{number}"] = L.InnerProduct(x, num_output=4096, param=LEARNED, **_FILLERS)
        x = relu(n, f"relu{number}", n[f"fc{number}"])
        x = n[f"drop{number}"] = L.Dropout(x, dropout_ratio=0.5, in_place=True)
    n.fc8 = L.InnerProduct(x, num_output=classes, param=LEARNED, **_FILLERS)
    judged(n, n.fc8)
