"""Embed."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from recaffe.layers.base import Layer, Shape, register


@register("Embed")
class Embed(Layer):
    """``top[i] = weight[bottom[i]] + bias``: a learned vector for each index.

    It is InnerProduct of one-hot vectors, without making them.

    Shapes: bottom ``(*M)``, integers from 0 to ``input_dim - 1`` stored as floats; weight
    ``(input_dim, num_output)``; bias ``(num_output,)``; top ``(*M, num_output)``.

    Source: ``embed_layer.cpp``.
    """

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        parameter = self.param.embed_param
        for name in ("num_output", "input_dim"):
            if getattr(parameter, name) < 1:
                raise self.error(f"{name} must be at least 1")
        self.add_blob((parameter.input_dim, parameter.num_output), parameter.weight_filler)
        if parameter.bias_term:
            self.add_blob((parameter.num_output,), parameter.bias_filler)

    def propagates_to(self, bottom_index: int) -> bool:
        return False

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        return [(*bottom_shapes[0], self.param.embed_param.num_output)]

    def forward(self, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> list[Tensor]:
        index = bottoms[0].long()
        weight, *bias = params
        outside = (index < 0) | (index >= len(weight))
        # A compiled step cannot stop to look.
        if not torch.compiler.is_compiling() and outside.any():
            raise self.error(
                f"index {int(index[outside][0])} found, but input_dim is {len(weight)}, so "
                f"indices run from 0 to {len(weight) - 1}"
            )
        top = F.embedding(index, weight)
        return [top + bias[0] if bias else top]
