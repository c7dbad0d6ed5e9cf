"""Convolution and Deconvolution."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from recaffe.context import context
from recaffe.layers.base import Layer, Shape, register
from recaffe.layers.convolve import convolve, deconvolve
from recaffe.layers.window import Windows


class _Convolving(Layer):
    """What both directions share: their parameters, and the axes they run over.

    The channels are ``axis``; the axes before it are the batch, those behind it the spatial
    ones, of which there may be any number, none included: then the kernel is one weight a
    pair of channels.
    """

    bottoms: ClassVar[tuple[int, int | None]] = (1, None)
    tops: ClassVar[tuple[int, int | None]] = (1, None)
    as_many = True

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        parameter = self.param.convolution_param
        shape = bottom_shapes[0]
        self.axis = self.canonical_axis(parameter.axis, shape)
        self.axes = len(shape) - self.axis - 1
        self.windows = Windows.of(self, self.axes)
        self.num_output, self.group = parameter.num_output, parameter.group
        self.channels = shape[self.axis]
        self._check_groups()
        self.add_blob((*self._weight_channels(), *self.windows.kernel), parameter.weight_filler)
        if parameter.bias_term:
            self.add_blob((self.num_output,), parameter.bias_filler)

    def _check_groups(self) -> None:
        if self.num_output < 1:
            raise self.error("num_output must be at least 1")
        if self.group < 1 or self.channels % self.group or self.num_output % self.group:
            raise self.error(
                f"group {self.group} must divide both the {self.channels} input channels "
                f"and num_output {self.num_output}"
            )

    def _weight_channels(self) -> Shape:
        raise NotImplementedError

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        for shape in bottom_shapes:
            if len(shape) != self.axis + 1 + self.axes or shape[self.axis] != self.channels:
                raise self.error(
                    f"the weights {list(self.blobs[0].shape)} (group {self.group}) need a bottom "
                    f"with {self.channels} channels, found {list(shape)}"
                )
            if shape != bottom_shapes[0]:
                raise self.error(
                    f"all bottoms need the same shape, found {list(bottom_shapes[0])} "
                    f"and {list(shape)}"
                )
        shape = tuple(bottom_shapes[0])
        sizes = self._top_sizes(shape, shape[self.axis + 1 :])
        return [(*shape[: self.axis], self.num_output, *sizes)] * len(bottom_shapes)

    def _top_sizes(self, shape: Shape, sizes: Shape) -> Shape:
        raise NotImplementedError

    def forward(self, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> list[Tensor]:
        weight = params[0]
        bias = params[1] if len(params) > 1 else None
        if weight.dim() == 4 and _channels_innermost(weight):
            weight = _channels_last(weight)
        return [self._one(bottom, weight, bias) for bottom in bottoms]

    def _one(self, bottom: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if self.axis == 1:
            return self._run(_like(bottom, weight), weight, bias)
        batch = bottom.shape[: self.axis]
        flat = bottom.reshape(math.prod(batch), *bottom.shape[self.axis :])
        top = self._run(_like(flat, weight), weight, bias)
        return top.reshape(*batch, *top.shape[1:])

    def _run(self, bottom: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        raise NotImplementedError


@register("Convolution")
class Convolution(_Convolving):
    """Cross-correlation with learned kernels, over any number of bottoms in the same way.

    ``top[n, k, p] = bias[k] + sum over c, q of weight[k, c, q] bottom[n, c, stride p +
    dilation q - pad]``, where ``c`` runs over the group's channels.

    Shapes: bottom ``(*N, C, *S)``; weight ``(num_output, C / group, *kernel_size)``; bias
    ``(num_output,)``; top ``(*N, num_output, *T)`` with ``T = (S + 2 pad -
    dilation (kernel_size - 1) - 1) / stride + 1``, rounded towards zero.
    ``force_nd_im2col`` and ``engine`` say how Caffe computes it, and change nothing here.

    Source: ``base_conv_layer.cpp``.
    """

    def _weight_channels(self) -> Shape:
        return (self.num_output, self.channels // self.group)

    def _top_sizes(self, shape: Shape, sizes: Shape) -> Shape:
        return self.windows.counts(self, shape, sizes)

    def _run(self, bottom: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return convolve(self.windows.filled(bottom), weight, bias, self.windows, self.group)


@register("Deconvolution")
class Deconvolution(_Convolving):
    """The transpose of Convolution: each value of the bottom spreads the kernel over the top.

    ``top[n, k, stride p + dilation q - pad] += weight[c, k, q] bottom[n, c, p]`` for all
    ``p``, ``q`` and the group's channels ``c``, where it lies within the top; plus ``bias[k]``.

    Shapes: bottom ``(*N, C, *S)``; weight ``(C, num_output / group, *kernel_size)``; bias
    ``(num_output,)``; top ``(*N, num_output, *T)`` with ``T = stride (S - 1) +
    dilation (kernel_size - 1) + 1 - 2 pad``.

    Source: ``deconv_layer.cpp``.
    """

    def _weight_channels(self) -> Shape:
        return (self.channels, self.num_output // self.group)

    def _top_sizes(self, shape: Shape, sizes: Shape) -> Shape:
        top = tuple(
            stride * (size - 1) + extent - 2 * pad
            for size, extent, stride, pad in zip(
                sizes, self.windows.extent, self.windows.stride, self.windows.pad, strict=True
            )
        )
        if min(top, default=1) < 1:
            raise self.error(
                f"pad {list(self.windows.pad)} leaves nothing of the top of a bottom "
                f"{list(shape)}: its spatial axes would be {list(top)}"
            )
        return top

    def _run(self, bottom: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return deconvolve(bottom, weight, bias, self.windows, self.group)


def _like(bottom: Tensor, weight: Tensor) -> Tensor:
    """The bottom in the memory layout that forward chose for the weight."""
    if bottom.dim() == 4 and _channels_innermost(bottom):
        return _channels_last(bottom)
    return bottom


def _channels_innermost(tensor: Tensor) -> bool:
    # On a CPU oneDNN's kernels and the pooling after them are 1.1 to 1.6 times as fast so
    # (benchmarks/training_step.py); a GPU's tensor cores want it, which float32 leaves idle.
    return tensor.device.type == "cpu" or context.precision != "float32"


def _channels_last(tensor: Tensor) -> Tensor:
    if tensor.shape[1] == 1:
        # torch tells the layout by the strides, and those of one channel are both layouts';
        # this one says what is meant, so that the tops get it too.
        batch, _, height, width = tensor.shape
        return tensor.contiguous().view(batch, height, width, 1).permute(0, 3, 1, 2)
    return tensor.contiguous(memory_format=torch.channels_last)
