"""Scale and Bias: a bottom times or plus a smaller array, spread over it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from recaffe.layers.base import Layer, Shape, register
from recaffe.proto.schema import FillerParameter


class _Spread(Layer):
    """What both share: the array is a second bottom, or learned, and starts at an axis.

    A learned one takes ``num_axes`` axes of the bottom from ``axis`` on, all with -1. One
    without axes goes with every bottom, whatever ``axis`` says.
    """

    bottoms = (1, 2)
    in_place = True

    def _learned_shape(self, parameter: Any, shape: Shape, axes: int) -> Shape:
        axis = self.canonical_axis(parameter.axis, shape)
        if axes < -1:
            raise self.error(f"num_axes must be at least 0, or -1 for all, found {axes}")
        if axes == -1:
            return shape[axis:]
        if axis + axes > len(shape):
            raise self.error(
                f"num_axes {axes} from axis {axis} on are more than the bottom {list(shape)} has"
            )
        return shape[axis : axis + axes]

    def _start(self, axis: int, array: Shape, shape: Shape) -> int:
        return self.canonical_axis(axis, shape) if array else 0

    def _check_fit(self, axis: int, array: Shape, shape: Shape) -> None:
        start = self._start(axis, array, shape)
        if tuple(shape[start : start + len(array)]) != tuple(array):
            raise self.error(
                f"{list(array)} does not fit the bottom {list(shape)} from axis {start} on, "
                f"where that is {list(shape[start:])}"
            )

    def _spread(self, axis: int, array: Tensor, bottom: Tensor) -> Tensor:
        """The array with axes of length 1 behind its own, so that torch spreads it."""
        start = self._start(axis, tuple(array.shape), tuple(bottom.shape))
        return array.reshape(*array.shape, *(1,) * (bottom.dim() - start - array.dim()))


@register("Bias")
class Bias(_Spread):
    """``top = bottom + bias``, the bias spread over the axes that it does not have.

    Shapes: bottom ``(*M, *B, *N)``; bias ``(*B,)``, with ``B`` starting at ``axis``: the second
    bottom, or else a parameter of ``num_axes`` axes.

    Source: ``bias_layer.cpp``.
    """

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        parameter = self.param.bias_param
        if len(bottom_shapes) == 1:
            shape = self._learned_shape(parameter, bottom_shapes[0], parameter.num_axes)
            self.add_blob(shape, parameter.filler)

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        array = [*bottom_shapes[1:], *(blob.shape for blob in self.blobs)][0]
        self._check_fit(self.param.bias_param.axis, array, bottom_shapes[0])
        return [bottom_shapes[0]]

    def forward(self, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> list[Tensor]:
        bottom, bias = [*bottoms, *params]
        return [bottom + self._spread(self.param.bias_param.axis, bias, bottom)]


@register("Scale")
class Scale(_Spread):
    """``top = bottom scale``, or with ``bias_term`` ``top = bottom scale + bias``.

    Shapes: bottom ``(*M, *B, *N)``; scale ``(*B,)``, with ``B`` starting at ``axis``: the second
    bottom, or else a parameter of ``num_axes`` axes; bias, always a parameter, as scale. The
    scale starts at 1 unless there is a filler.

    Source: ``scale_layer.cpp``.
    """

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        parameter = self.param.scale_param
        axes = len(bottom_shapes[1]) if len(bottom_shapes) > 1 else parameter.num_axes
        if len(bottom_shapes) == 1:
            has_filler = parameter.HasField("filler")
            filler = parameter.filler if has_filler else FillerParameter(value=1)
            self.add_blob(self._learned_shape(parameter, bottom_shapes[0], axes), filler)
        if parameter.bias_term:
            shape = self._learned_shape(parameter, bottom_shapes[0], axes)
            self.add_blob(shape, parameter.bias_filler)

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        for array in (*bottom_shapes[1:], *(blob.shape for blob in self.blobs)):
            self._check_fit(self.param.scale_param.axis, array, bottom_shapes[0])
        return [bottom_shapes[0]]

    def reads_bottom(self, bottom_index: int) -> bool:
        return bottom_index > 0 or not self.is_in_place

    def forward(self, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> list[Tensor]:
        bottom, *arrays = [*bottoms, *params]
        axis = self.param.scale_param.axis
        # A second bottom may be of another precision than the bias.
        by_channel = len(bottoms) == 1 and params[0].dim() == 1
        if by_channel and self._start(axis, tuple(params[0].shape), tuple(bottom.shape)) == 1:
            return [_by_channel(bottom, *params)]
        scale, *bias = [self._spread(axis, array, bottom) for array in arrays]
        # Not addcmul, which takes no mixture of precisions, and is no faster.
        top = bottom * scale
        return [top + bias[0] if bias else top]


def _by_channel(bottom: Tensor, scale: Tensor, bias: Tensor | None = None) -> Tensor:
    """``bottom scale + bias`` with one of each a channel.

    It is a normalisation that takes 0 from its bottom and divides it by 1, whose kernels go
    through memory half as often as those of a product, a sum and their gradients.
    """
    mean, variance = torch.zeros_like(scale), torch.ones_like(scale)
    return torch.batch_norm(bottom, scale, bias, mean, variance, False, 0.0, 0.0, False)
