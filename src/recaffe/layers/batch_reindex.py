"""BatchReindex."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from recaffe.layers.base import Layer, Shape, register


@register("BatchReindex")
class BatchReindex(Layer):
    """``top[i] = bottom[index[i]]``: items chosen, left out or repeated.

    Shapes: bottom ``(N, *S)``; index ``(M,)``, integers from 0 to ``N - 1`` stored as floats;
    top ``(M, *S)``.

    Source: ``batch_reindex_layer.cpp``.
    """

    bottoms = (2, 2)

    def propagates_to(self, bottom_index: int) -> bool:
        return bottom_index == 0

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        shape, index = bottom_shapes
        if not shape:
            raise self.error("expected a bottom (N, ...), found one without axes")
        if len(index) != 1:
            raise self.error(f"expected one axis of indices, found {list(index)}")
        return [(*index, *shape[1:])]

    def forward(self, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> list[Tensor]:
        bottom, index = bottoms
        outside = ~((index >= 0) & (index < len(bottom)))
        # A compiled step cannot stop to look.
        if not torch.compiler.is_compiling() and outside.any():
            raise self.error(
                f"index {float(index[outside][0]):g} found, but there are {len(bottom)} items, so "
                f"indices run from 0 to {len(bottom) - 1}"
            )
        return [bottom.index_select(0, index.long())]
