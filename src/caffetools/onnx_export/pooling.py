"""Pooling and SPP, with Caffe's own arithmetic of windows.

Caffe rounds sizes up, lets the last window stick out beyond the padding and leaves out what
sticks out there when it divides. Here the padding behind is made as large as the windows
reach, so that no operator has anything to round, and where a window sticks out the mean
over the whole kernel is brought to Caffe's divisor by a constant factor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from caffetools.onnx_export.graph import Layer, exports
from caffetools.onnx_export.windows import per_axis


@dataclass(frozen=True)
class _Windows:
    """Along one axis: ``count`` windows, and the ``size`` of the bottom."""

    kernel: int
    stride: int
    pad: int
    size: int
    count: int

    @property
    def behind(self) -> int:
        """The padding behind that the windows reach into."""
        return max(0, (self.count - 1) * self.stride + self.kernel - self.size - self.pad)

    @property
    def divisors(self) -> np.ndarray:
        """How many of each window's cells lie within the bottom and its own padding."""
        start = np.arange(self.count) * self.stride - self.pad
        return np.minimum(start + self.kernel, self.size + self.pad) - start

    @property
    def is_outside(self) -> bool:
        """Whether the last window lies wholly behind the bottom."""
        return (self.count - 1) * self.stride - self.pad >= self.size


@exports("Pooling")
def pooling(layer: Layer) -> list[str]:
    """MaxPool or AveragePool; a second top is the mask of MAX, in floats as in Caffe."""
    parameter = layer.message.pooling_param
    sizes = layer.sizes([2, 3])
    if parameter.global_pooling:
        kernel, stride, pad = sizes, [1, 1], [0, 0]
    else:
        kernel, stride, pad = (
            _kernel(parameter),
            per_axis(parameter, "stride", 2, 1),
            per_axis(parameter, "pad", 2, 0),
        )
    counts = [int(count or 0) for count in layer.top_shapes[0][2:]]
    windows = [_Windows(*each) for each in zip(kernel, stride, pad, sizes, counts)]
    if parameter.pool == parameter.MAX:
        return _maximum(layer, windows, len(layer.top_shapes))
    return [_mean(layer, windows)]


def _kernel(parameter: Any) -> list[int]:
    # Caffe pays no heed to a kernel_h or kernel_w that is alone.
    if parameter.HasField("kernel_h") and parameter.HasField("kernel_w"):
        return [parameter.kernel_h, parameter.kernel_w]
    return [parameter.kernel_size] * 2


@exports("SPP")
def spp(layer: Layer) -> list[str]:
    """Poolings into 1, 4, 16 ... windows, one after the other."""
    parameter = layer.message.spp_param
    sizes = layer.sizes([2, 3])
    levels = []
    for level in range(parameter.pyramid_height):
        bins = 2**level
        kernel = [-(-size // bins) for size in sizes]
        windows = [
            _Windows(width, width, (width * bins - size + 1) // 2, size, bins)
            for width, size in zip(kernel, sizes)
        ]
        is_max = parameter.pool == parameter.MAX
        levels.append(_maximum(layer, windows, 1)[0] if is_max else _mean(layer, windows))
    if len(levels) == 1:
        return levels
    flat = [layer.op("Flatten", level, axis=1) for level in levels]
    return [layer.op("Concat", *flat, axis=1)]


def _attributes(layer: Layer, windows: Sequence[_Windows]) -> dict[str, list[int]]:
    if any(each.is_outside for each in windows):
        raise layer.error("its last window lies wholly beyond the image; lower its stride")
    return {
        "kernel_shape": [each.kernel for each in windows],
        "strides": [each.stride for each in windows],
        "pads": [each.pad for each in windows] + [each.behind for each in windows],
    }


def _maximum(layer: Layer, windows: Sequence[_Windows], tops: int) -> list[str]:
    from onnx import TensorProto

    attributes = _attributes(layer, windows)
    if tops == 1:
        return [layer.op("MaxPool", layer.bottoms[0], **attributes)]
    pooled, index = layer.ops("MaxPool", layer.bottoms[0], outputs=2, **attributes)
    # ONNX counts through the whole blob, Caffe through each image's channel.
    places = layer.whole_numbers(windows[0].size * windows[1].size)
    mask = layer.op("Cast", layer.op("Mod", index, places), to=int(TensorProto.FLOAT))
    return [pooled, mask]


def _mean(layer: Layer, windows: Sequence[_Windows]) -> str:
    attributes = _attributes(layer, windows)
    mean = layer.op("AveragePool", layer.bottoms[0], count_include_pad=1, **attributes)
    divisors = np.outer(*(each.divisors for each in windows))
    kernel = windows[0].kernel * windows[1].kernel
    if (divisors == kernel).all():
        return mean
    return layer.op("Mul", mean, layer.constant(kernel / divisors))
