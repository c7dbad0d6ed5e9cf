"""Filter."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from recaffe.layers.base import Layer, Shape, register


@register("Filter")
class Filter(Layer):
    """Those items of each bottom for which the last bottom, the selector, is not zero.

    How many they are shows only as the net runs, and may be none; before that the tops have the
    bottoms' shapes.

    Shapes: bottoms ``(N, *S)``; selector ``(N,)`` or ``(N, 1, ...)``; tops ``(M, *S)``.

    Source: ``filter_layer.cpp``.
    """

    bottoms = (2, None)
    tops = (1, None)

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        if self.top_count != len(bottom_shapes) - 1:
            raise self.error(
                f"expected a top for each bottom but the selector, found {self.top_count} for "
                f"{len(bottom_shapes)} bottoms"
            )

    def propagates_to(self, bottom_index: int) -> bool:
        return bottom_index < len(self.param.bottom) - 1

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        *shapes, selector = bottom_shapes
        if not selector or any(size != 1 for size in selector[1:]):
            raise self.error(f"the selector needs one value an item, found {list(selector)}")
        for shape in shapes:
            if shape[:1] != selector[:1]:
                raise self.error(
                    f"the selector {list(selector)} and the bottom {list(shape)} differ in the "
                    "number of items"
                )
        return shapes

    def forward(self, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> list[Tensor]:
        *values, selector = bottoms
        (chosen,) = selector.reshape(-1).nonzero(as_tuple=True)
        return [bottom.index_select(0, chosen) for bottom in values]
