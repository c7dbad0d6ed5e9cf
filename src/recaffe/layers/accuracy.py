"""Accuracy."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from recaffe.layers.base import Layer, Shape, register
from recaffe.layers.loss import ignored_label, label_indices, labelled_shape


@register("Accuracy")
class Accuracy(Layer):
    """The share of items whose label is among the ``top_k`` highest scores.

    An item is right if fewer than ``top_k`` other classes score at least as high as its
    label's: a tie counts against it. Where no item counts the share is 0. A second top
    gives the share for each class, 0 for a class that no item has. No gradient.

    Source: ``accuracy_layer.cpp``.
    """

    bottoms = (2, 2)
    tops = (1, 2)

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        parameter = self.param.accuracy_param
        self.axis = self.canonical_axis(parameter.axis, bottom_shapes[0])
        self.top_k = parameter.top_k

    def propagates_to(self, bottom_index: int) -> bool:
        return False

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        labelled_shape(self, bottom_shapes, self.axis)
        classes = bottom_shapes[0][self.axis]
        if self.top_k > classes:
            raise self.error(f"top_k is {self.top_k}, but there are {classes} classes")
        return [(), (classes,)][: len(self.param.top)]

    def forward(self, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> list[Tensor]:
        scores, labels = bottoms
        ignore = ignored_label(self.param.accuracy_param)
        index, counted = label_indices(self, labels, scores.shape, self.axis, ignore)
        at_least = (scores >= scores.gather(self.axis, index)).sum(self.axis, keepdim=True)
        right = (at_least - 1 < self.top_k).to(scores.dtype)
        if counted is None:
            counted = torch.ones_like(right)
        right = right * counted
        accuracy = right.sum() / counted.sum().clamp(min=1.0)
        if len(self.param.top) == 1:
            return [accuracy]
        classes = scores.shape[self.axis]
        totals = torch.bincount(index.flatten(), counted.flatten(), classes)
        hits = torch.bincount(index.flatten(), right.flatten(), classes)
        return [accuracy, hits / totals.clamp(min=1.0)]
