"""Crop."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from recaffe.layers.base import Layer, Shape, register


@register("Crop")
class Crop(Layer):
    """The first bottom cut to the second one's size, in the axes from ``axis`` on.

    Along each of them the top starts at its ``offset``: none is 0 for all, one is for all. The
    second bottom lends its shape only, and has no gradient.

    Source: ``crop_layer.cpp``.
    """

    bottoms = (2, 2)

    def propagates_to(self, bottom_index: int) -> bool:
        return bottom_index == 0

    def refuses_gradient_of(self, bottom_index: int) -> bool:
        return False

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        shape, like = bottom_shapes
        start, offsets = self._offsets(shape)
        if len(like) < len(shape):
            raise self.error(
                f"the second bottom needs as many axes as the first one {list(shape)}, "
                f"found {list(like)}"
            )
        top = (*shape[:start], *like[start : len(shape)])
        for size, offset, length in zip(shape[start:], offsets, top[start:], strict=True):
            if offset + length > size:
                raise self.error(
                    f"the offsets {offsets} and the second bottom {list(like)} reach beyond "
                    f"the first one {list(shape)}, from axis {start} on"
                )
        return [top]

    def _offsets(self, shape: Shape) -> tuple[int, list[int]]:
        """The first axis that is cut, and where the top starts along it and those behind."""
        start = self.canonical_axis(self.param.crop_param.axis, shape)
        axes, offsets = len(shape) - start, list(self.param.crop_param.offset)
        if len(offsets) > 1 and len(offsets) != axes:
            raise self.error(
                f"offset is given {len(offsets)} times for the {axes} axes of {list(shape)} from "
                f"axis {start} on; give it once, or once an axis"
            )
        return start, offsets if len(offsets) > 1 else (offsets or [0]) * axes

    def forward(self, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> list[Tensor]:
        top, like = bottoms
        start, offsets = self._offsets(tuple(top.shape))
        for axis, offset in enumerate(offsets, start):
            top = top.narrow(axis, offset, like.shape[axis])
        # Cloned, since Caffe's top is not changed either by a bottom that is written to.
        return [top.clone()]
