"""Convolution over any number of spatial axes; torch has it over one to three.

Over more it is a sum over the kernel's offsets along the first axis, each a convolution over
the other axes with that axis in the batch; over none it is one along an axis of length 1.
"""

from __future__ import annotations

from dataclasses import fields

import torch.nn.functional as F
from torch import Tensor

from recaffe.layers.window import Windows

_CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}
_POINT = Windows((1,), (1,), (0,), (1,))


def convolve(
    bottom: Tensor, weight: Tensor, bias: Tensor | None, windows: Windows, group: int
) -> Tensor:
    """The cross-correlation of ``(N, C, *S)`` with ``(K, C / group, *kernel)``."""
    axes = len(windows.kernel)
    if axes == 0:
        return convolve(bottom[..., None], weight[..., None], bias, _POINT, group)[..., 0]
    if axes in _CONVOLUTIONS:
        settings = (windows.stride, windows.pad, windows.dilation, group)
        return _CONVOLUTIONS[axes](bottom, weight, bias, *settings)
    stride, pad, dilation = windows.stride[0], windows.pad[0], windows.dilation[0]
    padded = F.pad(bottom, (*(0,) * (2 * axes - 2), pad, pad))
    count = (padded.shape[2] - windows.extent[0]) // stride + 1
    rest, top = _without_first(windows), None
    for offset in range(windows.kernel[0]):
        start = offset * dilation
        seen = padded[:, :, start : start + (count - 1) * stride + 1 : stride]
        folded = seen.movedim(2, 1).flatten(0, 1)
        part = convolve(folded, weight[:, :, offset], None if offset else bias, rest, group)
        top = part if top is None else top + part
    assert top is not None
    return top.unflatten(0, (len(bottom), count)).movedim(1, 2)


def deconvolve(
    bottom: Tensor, weight: Tensor, bias: Tensor | None, windows: Windows, group: int
) -> Tensor:
    """The transpose of :func:`convolve`: of ``(N, C, *S)`` with ``(C, K / group, *kernel)``."""
    axes = len(windows.kernel)
    if axes == 0:
        return deconvolve(bottom[..., None], weight[..., None], bias, _POINT, group)[..., 0]
    if axes in _TRANSPOSED:
        transposed = _TRANSPOSED[axes]
        return transposed(
            bottom, weight, bias, windows.stride, windows.pad, 0, group, windows.dilation
        )
    stride, pad, dilation = windows.stride[0], windows.pad[0], windows.dilation[0]
    batch, _, count = bottom.shape[:3]
    folded = bottom.movedim(2, 1).flatten(0, 1)
    length = (count - 1) * stride + windows.extent[0]
    rest, top = _without_first(windows), None
    for offset in range(windows.kernel[0]):
        part = deconvolve(folded, weight[:, :, offset], None, rest, group)
        part = part.unflatten(0, (batch, count)).movedim(1, 2)
        if top is None:
            top = part.new_zeros(*part.shape[:2], length, *part.shape[3:])
        start = offset * dilation
        top[:, :, start : start + (count - 1) * stride + 1 : stride] += part
    assert top is not None
    top = top.narrow(2, pad, length - 2 * pad)
    return top if bias is None else top + bias.view(-1, *(1,) * axes)


def _without_first(windows: Windows) -> Windows:
    return Windows(*(getattr(windows, field.name)[1:] for field in fields(windows)))
