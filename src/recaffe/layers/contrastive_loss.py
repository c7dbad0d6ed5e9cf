"""ContrastiveLoss."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from recaffe.layers.base import Layer, Shape, register
from recaffe.layers.loss import few_axes, one_label_each, same_batch

# What Caffe adds to a distance before it divides by it, in the gradient alone.
_ADDED_TO_DISTANCE = 1e-4


@register("ContrastiveLoss")
class ContrastiveLoss(Layer):
    """Pairs of the same kind should be close, others at least ``margin`` apart.

    ``loss = 1 / (2 N) sum of d^2`` for pairs whose label is not 0, ``max(0, margin - d)^2`` for
    the others, with ``d`` the Euclidean distance of the pair. With ``legacy_version`` the
    latter is ``max(0, margin - d^2)``.

    Shapes: two bottoms ``(N, C)``, or ``(N, C, 1, 1)``; ``N`` labels.

    Source: ``contrastive_loss_layer.cpp``; Hadsell et al. 2006.
    """

    bottoms = (3, 3)
    is_loss = True

    def propagates_to(self, bottom_index: int) -> bool:
        return bottom_index < 2

    def refuses_gradient_of(self, bottom_index: int) -> bool:
        return False

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        same_batch(self, bottom_shapes)
        one, other, labels = (few_axes(self, shape) for shape in bottom_shapes)
        if one != other or one[2:] != (1, 1):
            raise self.error(
                "both bottoms need the same shape (N, C) or (N, C, 1, 1), found "
                f"{list(bottom_shapes[0])} and {list(bottom_shapes[1])}"
            )
        one_label_each(self, one[0], bottom_shapes[2])
        if labels[1:] != (1, 1, 1):
            raise self.error(f"expected labels (N,), found {list(bottom_shapes[2])}")
        return [()]

    def reads_bottom(self, bottom_index: int) -> bool:
        return bottom_index == 2

    def forward(self, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> list[Tensor]:
        items = len(bottoms[0])
        one, other = (bottom.reshape(items, -1) for bottom in bottoms[:2])
        difference = one - other
        squared = (difference * difference).sum(1)
        parameter = self.param.contrastive_loss_param
        if parameter.legacy_version:
            apart = torch.relu(parameter.margin - squared)
        else:
            apart = torch.relu(parameter.margin - _distance(squared)) ** 2
        alike = bottoms[2].reshape(items).long() != 0
        return [torch.where(alike, squared, apart).sum() / (2 * items)]


def _distance(squared: Tensor) -> Tensor:
    """The root of ``squared``, with Caffe's gradient: that of the root of ``squared`` and more.

    So the gradient is finite where the distance is zero.
    """
    distance = squared.detach().sqrt()
    more = (distance + _ADDED_TO_DISTANCE) ** 2 - squared.detach()
    shifted = (squared + more).sqrt()
    return distance + (shifted - shifted.detach())
