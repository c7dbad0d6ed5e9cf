"""Axpy."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from recaffe.layers.base import Layer, Shape, register


@register("Axpy")
class Axpy(Layer):
    """``top = a x + y``, with one factor ``a`` for each channel of each item.

    Shapes: bottoms ``a`` ``(N, C)`` or ``(N, C, 1, 1)``, ``x`` ``(N, C, *S)``, ``y`` and top
    as ``x``.

    Source: ``axpy_layer.cpp`` of SENet's fork; Hu et al. 2017.
    """

    bottoms = (3, 3)

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        factors, x, y = bottom_shapes
        if len(x) < 2 or factors[:2] != x[:2] or math.prod(factors[2:]) != 1:
            raise self.error(
                f"the first bottom holds a factor for each channel of the second one, so to "
                f"{list(x)} belongs {[*x[:2], 1, 1]}, found {list(factors)}"
            )
        if x != y:
            raise self.error(
                f"the second and third bottom are added, so they need one shape, found {list(x)} "
                f"and {list(y)}"
            )
        return [x]

    def forward(self, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> list[Tensor]:
        factors, x, y = bottoms
        return [torch.addcmul(y, factors.reshape(*x.shape[:2], *[1] * (x.dim() - 2)), x)]
