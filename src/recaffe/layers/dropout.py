"""Dropout."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from recaffe.context import context
from recaffe.layers.base import Layer, Shape, register


@register("Dropout")
class Dropout(Layer):
    """In TRAIN each element is zeroed with probability ``p = dropout_ratio``, else scaled.

    ``top = bottom m / (1 - p)`` with ``m`` Bernoulli of ``1 - p``; in TEST ``top = bottom``.
    With ``scale_train: false`` it is ``bottom m`` in TRAIN and ``(1 - p) bottom`` in TEST.

    Source: ``dropout_layer.cpp``, that of Fast R-CNN's fork for ``scale_train``; Srivastava
    et al. 2014.
    """

    in_place = True
    puts_aside = True

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        self.ratio = self.param.dropout_param.dropout_ratio
        self.scale_train = self.param.dropout_param.scale_train
        if not 0 <= self.ratio < 1:
            raise self.error(f"dropout_ratio must be at least 0 and below 1, found {self.ratio}")

    def forward(self, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> list[Tensor]:
        (bottom,) = bottoms
        if not self.is_training:
            return [bottom.clone() if self.scale_train else bottom * (1 - self.ratio)]
        keep = 1 - self.ratio
        mask = torch.empty_like(bottom)
        mask.bernoulli_(keep, generator=context.generator(bottom.device))
        return [bottom * (mask.div_(keep) if self.scale_train else mask)]
