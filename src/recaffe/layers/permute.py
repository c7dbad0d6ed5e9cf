"""Permute."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from recaffe.layers.base import Layer, Shape, register


@register("Permute")
class Permute(Layer):
    """The axes in another order: axis ``i`` of the top is axis ``order[i]`` of the bottom.

    Axes that ``order`` leaves out follow in their own order.

    Source: ``permute_layer.cpp`` of SSD's fork.
    """

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        (shape,) = bottom_shapes
        given = list(self.param.permute_param.order)
        if len(set(given)) != len(given):
            raise self.error(f"order names each axis once at most, found {given}")
        if given and max(given) >= len(shape):
            raise self.error(f"order {given} has an axis that is not in {list(shape)}")
        self.order = given + [axis for axis in range(len(shape)) if axis not in given]

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        (shape,) = bottom_shapes
        if len(shape) != len(self.order):
            raise self.error(f"was set up for {len(self.order)} axes, found {list(shape)}")
        return [tuple(shape[axis] for axis in self.order)]

    def forward(self, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> list[Tensor]:
        (bottom,) = bottoms
        return [bottom.permute(self.order).clone(memory_format=torch.contiguous_format)]
