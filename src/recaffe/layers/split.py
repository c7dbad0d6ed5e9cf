"""Split."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from recaffe.layers.base import Layer, Shape, register


@register("Split")
class Split(Layer):
    """Gives one bottom to several tops; its gradient is the sum of theirs.

    Nets insert it themselves wherever a blob has more than one consumer.

    Source: ``split_layer.cpp``.
    """

    tops = (1, None)
    shares_data = True

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        return [bottom_shapes[0]] * len(self.param.top)

    def forward(self, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> list[Tensor]:
        (bottom,) = bottoms
        return [bottom.view_as(bottom) for _ in self.param.top]
