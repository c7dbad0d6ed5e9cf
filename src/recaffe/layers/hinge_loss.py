"""HingeLoss."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from recaffe.layers.base import Layer, Shape, register
from recaffe.layers.loss import few_axes, label_indices, one_label_each, same_batch


@register("HingeLoss")
class HingeLoss(Layer):
    """One against all: the score of an item's label should be at least 1, all others at most -1.

    ``loss = 1 / N sum over items and classes of max(0, 1 - d score)^p``, with ``d`` 1 for the
    label's class and -1 for the others, and ``p`` 1 or 2 as ``norm`` says.

    Shapes: scores ``(N, C)``, or up to four axes, all but the first one counting as classes;
    ``N`` labels.

    Source: ``hinge_loss_layer.cpp``.
    """

    bottoms = (2, 2)
    is_loss = True
    puts_aside = True

    def propagates_to(self, bottom_index: int) -> bool:
        return bottom_index == 0

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        same_batch(self, bottom_shapes)
        scores, labels = bottom_shapes
        few_axes(self, scores)
        one_label_each(self, scores[0], labels)
        return [()]

    def forward(self, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> list[Tensor]:
        scores = bottoms[0].reshape(len(bottoms[0]), -1)
        index, _ = label_indices(self, bottoms[1], tuple(scores.shape), 1)
        signs = torch.ones_like(scores).scatter(1, index, -1.0)
        hinges = torch.relu(1 + signs * scores)
        parameter = self.param.hinge_loss_param
        if parameter.norm == parameter.L2:
            hinges = hinges * hinges
        return [hinges.sum() / len(scores)]
