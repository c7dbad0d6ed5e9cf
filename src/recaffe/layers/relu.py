"""ReLU."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from recaffe.layers.base import Layer, register


@register("ReLU")
class ReLU(Layer):
    """``top = max(bottom, 0) + negative_slope min(bottom, 0)``, element by element.

    Source: ``relu_layer.cpp``.
    """

    in_place = True

    def forward(self, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> list[Tensor]:
        slope = self.param.relu_param.negative_slope
        (bottom,) = bottoms
        return [F.leaky_relu(bottom, slope) if slope else F.relu(bottom)]
