"""SmoothL1Loss."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from recaffe.layers.base import Layer, Shape, register


@register("SmoothL1Loss")
class SmoothL1Loss(Layer):
    """``loss = 1 / N sum w_out f(w_in (bottom_0 - bottom_1))``, the Huber loss of boxes.

    ``f(x) = (sigma x)^2 / 2`` where ``|x| < 1 / sigma^2``, else ``|x| - 1 / (2 sigma^2)``.

    Shapes: predictions and targets ``(N, ...)``; two more bottoms of that shape, both or none,
    give the weights ``w_in`` and ``w_out``, which have no gradient.

    Source: ``smooth_L1_loss_layer.cu`` of Fast R-CNN's fork; Girshick 2015.
    """

    bottoms = (2, 4)
    is_loss = True

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        self.sigma = self.param.smooth_l1_loss_param.sigma
        if not self.sigma:
            raise self.error("sigma must not be 0")
        if len(bottom_shapes) == 3:
            raise self.error(
                "expected both inside and outside weights, or neither; found 3 bottoms"
            )

    def propagates_to(self, bottom_index: int) -> bool:
        return bottom_index < 2

    def refuses_gradient_of(self, bottom_index: int) -> bool:
        return False

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        if len({_without_ones(shape) for shape in bottom_shapes}) != 1 or not bottom_shapes[0]:
            raise self.error(
                f"expected bottoms (N, ...) of one shape, found {[list(s) for s in bottom_shapes]}"
            )
        return [()]

    def forward(self, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> list[Tensor]:
        predictions, targets, *weights = (bottom.reshape(bottoms[0].shape) for bottom in bottoms)
        difference = predictions - targets
        if weights:
            difference = difference * weights[0].detach()
        losses = F.smooth_l1_loss(
            difference, torch.zeros_like(difference), reduction="none", beta=self.sigma**-2
        )
        if weights:
            losses = losses * weights[1].detach()
        return [losses.sum() / len(predictions)]


def _without_ones(shape: Shape) -> Shape:
    """The shape without ones at its end, which Caffe's legacy axes do not tell apart."""
    axes = len(shape)
    while axes and shape[axes - 1] == 1:
        axes -= 1
    return shape[:axes]
