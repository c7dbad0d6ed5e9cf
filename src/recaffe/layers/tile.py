"""Tile."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from recaffe.layers.base import Layer, Shape, register


@register("Tile")
class Tile(Layer):
    """The bottom ``tiles`` times, one after the other along ``axis``.

    Source: ``tile_layer.cpp``.
    """

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        if self.param.tile_param.tiles < 1:
            raise self.error("tiles must be given, and be at least 1")

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        (shape,) = bottom_shapes
        times = self._times(shape)
        return [tuple(size * count for size, count in zip(shape, times, strict=True))]

    def _times(self, shape: Shape) -> list[int]:
        parameter = self.param.tile_param
        axis = self.canonical_axis(parameter.axis, shape)
        return [parameter.tiles if at == axis else 1 for at in range(len(shape))]

    def forward(self, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> list[Tensor]:
        (bottom,) = bottoms
        return [bottom.repeat(self._times(tuple(bottom.shape)))]
