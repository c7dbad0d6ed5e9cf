"""ShuffleChannel."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from recaffe.layers.base import Layer, Shape, register


@register("ShuffleChannel")
class ShuffleChannel(Layer):
    """The channels dealt out anew: first the first one of each group, then the second ones.

    Channel ``j group + i`` of the top is channel ``i C / group + j`` of the bottom
    ``(N, C, ...)``.

    Source: ``shuffle_channel_layer.cpp`` of ShuffleNet's ports to Caffe; Zhang et al. 2017.
    """

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        self.group = self.param.shuffle_channel_param.group
        if self.group < 1:
            raise self.error("group must be at least 1")

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        (shape,) = bottom_shapes
        if len(shape) < 2:
            raise self.error(f"expected a bottom (N, C, ...), found {list(shape)}")
        if shape[1] % self.group:
            raise self.error(f"group {self.group} must divide the {shape[1]} channels")
        return [shape]

    def forward(self, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> list[Tensor]:
        (bottom,) = bottoms
        groups = bottom.unflatten(1, (self.group, -1)).transpose(1, 2)
        return [groups.clone(memory_format=torch.contiguous_format).flatten(1, 2)]
