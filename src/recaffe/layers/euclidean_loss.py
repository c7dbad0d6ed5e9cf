"""EuclideanLoss."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from recaffe.layers.base import Layer, Shape, register
from recaffe.layers.loss import few_axes, same_batch


@register("EuclideanLoss")
class EuclideanLoss(Layer):
    """``loss = 1 / (2 N) sum (bottom0 - bottom1)^2``; both bottoms have a gradient.

    Shapes: two bottoms of ``N`` items and the same number of values an item, in up to four
    axes.

    Source: ``euclidean_loss_layer.cpp``.
    """

    bottoms = (2, 2)
    is_loss = True
    puts_aside = True

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        same_batch(self, bottom_shapes)
        one, other = bottom_shapes
        if math.prod(one[1:]) != math.prod(other[1:]):
            raise self.error(
                f"both bottoms need as many values an item, found {list(one)} and {list(other)}"
            )
        few_axes(self, one)
        return [()]

    def forward(self, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> list[Tensor]:
        one, other = bottoms
        difference = one - other.reshape(one.shape)
        return [(difference * difference).sum() / (2 * len(one))]
