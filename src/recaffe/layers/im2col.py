"""Im2col."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from recaffe.layers.base import Layer, Shape, register
from recaffe.layers.window import Windows


@register("Im2col")
class Im2col(Layer):
    """The windows that a Convolution of the same settings sees, each as a column of channels.

    ``top[n, (c, q), p] = bottom[n, c, stride p + dilation q - pad]``, zero in the padding.

    Shapes: bottom ``(*N, C, *S)`` with the channels along ``axis`` and one spatial axis at
    least; top ``(*N, C * K, *T)`` with ``K`` the product of ``kernel_size``.

    Source: ``im2col_layer.cpp``.
    """

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        (shape,) = bottom_shapes
        self.axis = self.canonical_axis(self.param.convolution_param.axis, shape)
        axes = len(shape) - self.axis - 1
        if not axes:
            raise self.error(
                f"expected spatial axes behind the channels, axis {self.axis}, "
                f"found the bottom {list(shape)}"
            )
        self.windows = Windows.of(self, axes)

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        (shape,) = bottom_shapes
        axes = len(self.windows.kernel)
        if len(shape) != self.axis + 1 + axes:
            raise self.error(
                f"was set up for {axes} spatial axes behind axis {self.axis}, "
                f"found the bottom {list(shape)}"
            )
        counts = self.windows.counts(self, shape, tuple(shape[self.axis + 1 :]))
        columns = shape[self.axis] * math.prod(self.windows.kernel)
        return [(*shape[: self.axis], columns, *counts)]

    def forward(self, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> list[Tensor]:
        (bottom,) = bottoms
        (top_shape,) = self.top_shapes([tuple(bottom.shape)])
        windows, axes = self.windows, len(self.windows.kernel)
        seen = bottom.reshape(-1, *bottom.shape[self.axis :])
        seen = F.pad(windows.filled(seen), [pad for pad in reversed(windows.pad) for _ in "ab"])
        for axis in range(axes):
            # each step appends the window's own axis at the end
            seen = seen.unfold(2 + axis, windows.extent[axis], windows.stride[axis])
            seen = seen[..., :: windows.dilation[axis]]
        order = (0, 1, *range(2 + axes, 2 + 2 * axes), *range(2, 2 + axes))
        columns = seen.permute(order).clone(memory_format=torch.contiguous_format)
        return [columns.view(top_shape)]
