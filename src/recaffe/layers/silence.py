"""Silence."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from recaffe.layers.base import Layer, Shape, register


@register("Silence")
class Silence(Layer):
    """Consumes blobs that nobody else does, so that they are no outputs; their gradient is zero.

    Source: ``silence_layer.cpp``.
    """

    bottoms = (1, None)
    tops = (0, 0)

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        return []

    def forward(self, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> list[Tensor]:
        return []
