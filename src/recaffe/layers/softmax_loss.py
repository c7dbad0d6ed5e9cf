"""SoftmaxWithLoss."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from recaffe.layers.base import Layer, Shape, register
from recaffe.layers.bounded import bounded
from recaffe.layers.loss import (
    ignored_label,
    label_indices,
    labelled_shape,
    normaliser,
    same_batch,
)

_LEAST_LOG_PROBABILITY = math.log(torch.finfo(torch.float32).tiny)


@register("SoftmaxWithLoss")
class SoftmaxWithLoss(Layer):
    """``loss = -1 / Z sum over items of log max(softmax(bottom)[label], FLT_MIN)``.

    Shapes: scores with the classes along ``softmax_param.axis``; labels with one integer
    (stored as float) for every item, that is for every index of the other axes. Items
    labelled ``ignore_label`` count for nothing. ``Z`` is what ``normalization`` says. A
    second top gives the probabilities, which have no gradient of their own.

    Source: ``softmax_loss_layer.cpp``.
    """

    bottoms = (2, 2)
    tops = (1, 2)
    is_loss = True

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        self.axis = self.canonical_axis(self.param.softmax_param.axis, bottom_shapes[0])

    def propagates_to(self, bottom_index: int) -> bool:
        return bottom_index == 0

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        labelled_shape(self, bottom_shapes, self.axis)
        same_batch(self, bottom_shapes)
        return [(), bottom_shapes[0]][: self.top_count]

    def reads_bottom(self, bottom_index: int) -> bool:
        return bottom_index > 0

    def forward(self, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> list[Tensor]:
        scores, labels = bottoms
        log_probabilities = torch.log_softmax(scores, self.axis)
        ignore = ignored_label(self.param.loss_param)
        index, counted = label_indices(self, labels, scores.shape, self.axis, ignore)
        chosen = bounded(log_probabilities.gather(self.axis, index), _LEAST_LOG_PROBABILITY)
        if counted is not None:
            chosen = chosen * counted
        batch = math.prod(scores.shape[: self.axis])
        loss = -chosen.sum() / normaliser(self.param.loss_param, index, counted, batch)
        return [loss, log_probabilities.detach().exp()][: self.top_count]
