"""PReLU."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from recaffe.layers.base import Layer, Shape, register
from recaffe.proto.schema import FillerParameter


@register("PReLU")
class PReLU(Layer):
    """``top = max(bottom, 0) + slope min(bottom, 0)``, with one learned slope a channel.

    Shapes: bottom ``(N, C, *S)``, of four axes at most; slope ``(C,)``, or ``()`` with
    ``channel_shared``. It starts at 0.25 unless there is a filler.

    Source: ``prelu_layer.cpp``; He et al. 2015.
    """

    in_place = True

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        parameter = self.param.prelu_param
        (shape,) = bottom_shapes
        self._check_axes(shape)
        filler = parameter.filler if parameter.HasField("filler") else FillerParameter(value=0.25)
        self.add_blob(() if parameter.channel_shared else (shape[1],), filler)

    def _check_axes(self, shape: Shape) -> None:
        if not 2 <= len(shape) <= 4:
            raise self.error(
                f"expected a bottom of two to four axes (N, C, ...), found {list(shape)}"
            )

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        (shape,) = bottom_shapes
        self._check_axes(shape)
        slopes = self.blobs[0].shape
        if slopes and slopes[0] != shape[1]:
            raise self.error(f"has slopes of {slopes[0]} channels, found {list(shape)}")
        return [shape]

    def reads_bottom(self, bottom_index: int) -> bool:
        return not self.is_in_place

    def forward(self, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> list[Tensor]:
        return [F.prelu(bottoms[0], params[0])]
