"""ReLU6."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from recaffe.layers.base import Layer, register


@register("ReLU6")
class ReLU6(Layer):
    """``top = min(max(bottom, 0) + negative_slope min(bottom, 0), 6)``, element by element.

    Source: ``relu6_layer`` of MobileNet v2's ports to Caffe; Sandler et al. 2018.
    """

    in_place = True

    def forward(self, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> list[Tensor]:
        slope = self.param.relu6_param.negative_slope
        (bottom,) = bottoms
        if not slope:
            return [F.relu6(bottom)]
        return [F.hardtanh(F.leaky_relu(bottom, slope), -math.inf, 6.0)]
