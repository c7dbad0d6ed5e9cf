"""SigmoidCrossEntropyLoss."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from recaffe.layers.base import Layer, Shape, register
from recaffe.layers.loss import ignored_label, normaliser, same_batch


@register("SigmoidCrossEntropyLoss")
class SigmoidCrossEntropyLoss(Layer):
    """``loss = -1 / Z sum of t log p + (1 - t) log (1 - p)``, with ``p = sigmoid(bottom0)``.

    The targets ``t`` are bottom1, one for each score; those that are ``ignore_label``, but for
    their fraction, count for nothing. ``Z`` is what ``normalization`` says, by default the
    length of the first axis.

    Source: ``sigmoid_cross_entropy_loss_layer.cpp``.
    """

    bottoms = (2, 2)
    is_loss = True

    def propagates_to(self, bottom_index: int) -> bool:
        return bottom_index == 0

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        same_batch(self, bottom_shapes)
        scores, targets = bottom_shapes
        if math.prod(scores) != math.prod(targets):
            raise self.error(
                f"expected one target for each score, found {list(scores)} and {list(targets)}"
            )
        return [()]

    def reads_bottom(self, bottom_index: int) -> bool:
        return bottom_index > 0

    def forward(self, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> list[Tensor]:
        scores = bottoms[0]
        targets = bottoms[1].reshape(scores.shape)
        losses = F.binary_cross_entropy_with_logits(scores, targets, reduction="none")
        parameter = self.param.loss_param
        ignore, counted = ignored_label(parameter), None
        if ignore is not None:
            kept = targets.long() != ignore
            losses, counted = torch.where(kept, losses, 0.0), kept.to(scores.dtype)
        divisor = normaliser(parameter, scores, counted, len(scores), default=parameter.BATCH_SIZE)
        return [losses.sum() / divisor]
