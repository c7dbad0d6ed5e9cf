"""Softmax."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from recaffe.layers.base import Layer, Shape, register


@register("Softmax")
class Softmax(Layer):
    """``top[i] = exp(bottom[i]) / sum_j exp(bottom[j])`` along ``axis``.

    Source: ``softmax_layer.cpp``.
    """

    in_place = True
    reads_top = True

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        self.axis = self.canonical_axis(self.param.softmax_param.axis, bottom_shapes[0])

    def forward(self, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> list[Tensor]:
        return [torch.softmax(bottoms[0], self.axis)]

    def gradient_of_blobs(self, bottom: Tensor, top: Tensor, diff: Tensor) -> Tensor:
        return top * (diff - (top * diff).sum(self.axis, keepdim=True))
