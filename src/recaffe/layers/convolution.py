"""Convolution."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from recaffe.layers.base import Layer, Shape, register
from recaffe.layers.window import check_positive, per_axis

_CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


@register("Convolution")
class Convolution(Layer):
    """Cross-correlation with learned kernels, over any number of bottoms in the same way.

    ``top[n, k, p] = bias[k] + sum over c, q of weight[k, c, q] bottom[n, c, stride p +
    dilation q - pad]``, where ``c`` runs over the group's channels.

    Shapes: bottom ``(N, C, *S)`` with one to three spatial axes ``S``; weight
    ``(num_output, C / group, *kernel_size)``; bias ``(num_output,)``; top
    ``(N, num_output, *T)`` with ``T = (S + 2 pad - dilation (kernel_size - 1) - 1) //
    stride + 1``.

    Source: ``base_conv_layer.cpp``.
    """

    bottoms = (1, None)
    tops = (1, None)
    as_many = True

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        parameter = self.param.convolution_param
        shape = bottom_shapes[0]
        self.axis = self.canonical_axis(parameter.axis, shape)
        if self.axis != 1:
            raise self.error(f"channels must be axis 1, found axis {self.axis}")
        axes = len(shape) - 2
        if axes not in _CONVOLUTIONS:
            raise self.error(f"expected 1 to 3 spatial axes, found the bottom {list(shape)}")
        self.kernel = per_axis(self, parameter, "kernel", axes, None, suffix="_size")
        self.stride = per_axis(self, parameter, "stride", axes, 1)
        self.pad = per_axis(self, parameter, "pad", axes, 0)
        self.dilation = per_axis(self, parameter, "dilation", axes, 1)
        for name in ("kernel", "stride", "dilation"):
            check_positive(self, name, getattr(self, name))
        self.num_output, self.group = parameter.num_output, parameter.group
        self._check_groups(shape[1])
        self.add_blob(
            (self.num_output, shape[1] // self.group, *self.kernel), parameter.weight_filler
        )
        if parameter.bias_term:
            self.add_blob((self.num_output,), parameter.bias_filler)

    def _check_groups(self, channels: int) -> None:
        if self.num_output < 1:
            raise self.error("num_output must be at least 1")
        if self.group < 1 or channels % self.group or self.num_output % self.group:
            raise self.error(
                f"group {self.group} must divide both the {channels} input channels "
                f"and num_output {self.num_output}"
            )

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        return [self._top_shape(shape) for shape in bottom_shapes]

    def _top_shape(self, shape: Shape) -> Shape:
        weight = self.blobs[0].shape
        if len(shape) != len(weight) or shape[1] != weight[1] * self.group:
            raise self.error(
                f"the weights {list(weight)} (group {self.group}) need a bottom with "
                f"{weight[1] * self.group} channels, found {list(shape)}"
            )
        spatial = tuple(
            (size + 2 * pad - dilation * (kernel - 1) - 1) // stride + 1
            for size, pad, dilation, kernel, stride in zip(
                shape[2:], self.pad, self.dilation, self.kernel, self.stride, strict=True
            )
        )
        if min(spatial) < 1:
            raise self.error(
                f"kernel_size {list(self.kernel)} does not fit the bottom {list(shape)} "
                f"with pad {list(self.pad)}"
            )
        return (shape[0], self.num_output, *spatial)

    def forward(self, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> list[Tensor]:
        weight = params[0]
        bias = params[1] if len(params) > 1 else None
        if weight.dim() == 4 and weight.device.type == "cpu":
            # Channels innermost: oneDNN's kernels and the pooling after them are 1.1 to 1.6
            # times as fast so (benchmarks/training_step.py).
            weight = _channels_last(weight)
            bottoms = [_channels_last(bottom) for bottom in bottoms]
        convolve = _CONVOLUTIONS[len(self.kernel)]
        settings = (self.stride, self.pad, self.dilation, self.group)
        return [convolve(bottom, weight, bias, *settings) for bottom in bottoms]


def _channels_last(tensor: Tensor) -> Tensor:
    if tensor.shape[1] == 1:
        # torch tells the layout by the strides, and those of one channel are both layouts';
        # this one says what is meant, so that the tops get it too.
        batch, _, height, width = tensor.shape
        return tensor.contiguous().view(batch, height, width, 1).permute(0, 3, 1, 2)
    return tensor.contiguous(memory_format=torch.channels_last)
