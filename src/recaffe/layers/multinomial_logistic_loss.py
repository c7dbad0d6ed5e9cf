"""MultinomialLogisticLoss."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from recaffe.layers.base import Layer, Shape, register
from recaffe.layers.bounded import bounded
from recaffe.layers.loss import few_axes, label_indices, one_label_each, same_batch

_LEAST_PROBABILITY = 1e-20


@register("MultinomialLogisticLoss")
class MultinomialLogisticLoss(Layer):
    """``loss = -1 / N sum over items of log max(bottom[label], 1e-20)``.

    Shapes: probabilities ``(N, C)``, or up to four axes, all but the first one counting as
    classes; ``N`` labels.

    Source: ``multinomial_logistic_loss_layer.cpp``.
    """

    bottoms = (2, 2)
    is_loss = True

    def propagates_to(self, bottom_index: int) -> bool:
        return bottom_index == 0

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        same_batch(self, bottom_shapes)
        probabilities, labels = bottom_shapes
        few_axes(self, probabilities)
        one_label_each(self, probabilities[0], few_axes(self, labels))
        return [()]

    def forward(self, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> list[Tensor]:
        items = len(bottoms[0])
        probabilities = bottoms[0].reshape(items, -1)
        index, _ = label_indices(self, bottoms[1], tuple(probabilities.shape), 1)
        chosen = bounded(probabilities.gather(1, index), _LEAST_PROBABILITY)
        return [-chosen.log().sum() / items]
