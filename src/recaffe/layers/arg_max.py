"""ArgMax."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from recaffe.layers.base import Layer, Shape, register


@register("ArgMax")
class ArgMax(Layer):
    """Where the ``top_k`` largest values are, largest first; of equal ones the last.

    Shapes: bottom ``(N, *S)``; top ``(N, 1, top_k)`` with the indices into the flat ``S``, and
    as many 1 behind as the bottom has axes more; with ``out_max_val`` ``(N, 2, top_k)``, the
    values behind the indices. With an ``axis``, the bottom's shape with ``top_k`` there: the
    indices along it, or with ``out_max_val`` the values instead. There is no gradient.

    Source: ``argmax_layer.cpp``.
    """

    def propagates_to(self, bottom_index: int) -> bool:
        return False

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        (shape,) = bottom_shapes
        parameter = self.param.argmax_param
        if not shape:
            raise self.error("expected a bottom (N, ...), found one without axes")
        axis = None
        if parameter.HasField("axis"):
            axis = self.canonical_axis(parameter.axis, shape)
        choices = math.prod(shape[1:]) if axis is None else shape[axis]
        if not 1 <= parameter.top_k <= choices:
            raise self.error(
                f"top_k must be from 1 to the {choices} values of the bottom {list(shape)} that "
                f"there are to choose from, found {parameter.top_k}"
            )
        if axis is not None:
            return [(*shape[:axis], parameter.top_k, *shape[axis + 1 :])]
        more = (1,) * (len(shape) - 3)
        return [(shape[0], 2 if parameter.out_max_val else 1, parameter.top_k, *more)]

    def forward(self, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> list[Tensor]:
        parameter = self.param.argmax_param
        bottom = bottoms[0].detach()
        if parameter.HasField("axis"):
            index, values = _largest(bottom, parameter.top_k, parameter.axis)
            return [values if parameter.out_max_val else index]
        both = _largest(bottom.reshape(len(bottom), -1), parameter.top_k, 1)
        top = torch.stack(both if parameter.out_max_val else both[:1], 1)
        return [top.reshape(self.top_shapes([tuple(bottom.shape)])[0])]


def _largest(bottom: Tensor, count: int, axis: int) -> tuple[Tensor, Tensor]:
    """Indices and values of the ``count`` largest along ``axis``, of equal ones the last."""
    # From the back, as torch takes the first of equal ones.
    backward = bottom.flip(axis)
    if count == 1:
        values, index = backward.max(axis, keepdim=True)
    else:
        ordered = backward.sort(dim=axis, descending=True, stable=True)
        values, index = (tensor.narrow(axis, 0, count) for tensor in ordered)
    return (bottom.shape[axis] - 1 - index).to(bottom.dtype), values
