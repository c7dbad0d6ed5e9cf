"""Normalize, SSD's normalisation by length."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from recaffe.layers.base import Layer, Shape, register
from recaffe.proto.schema import FillerParameter


@register("Normalize")
class Normalize(Layer):
    """Each vector scaled to the length 1, and then by learned factors.

    ``top = scale bottom / sqrt(sum bottom^2 + eps)``. The vector is the channels at each place
    or, with ``across_spatial``, all of an item. The scale, 1 unless ``scale_filler`` fills it
    otherwise, is one for all (``channel_shared``) or one a channel.

    Shapes: bottom ``(N, C, *S)``; scale ``()`` or ``(C,)``.

    Source: ``normalize_layer.cpp`` of SSD's fork; Liu et al. 2015, ParseNet.
    """

    in_place = True

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        (shape,) = bottom_shapes
        parameter = self.param.norm_param
        self._check_axes(shape)
        self.across_spatial, self.eps = parameter.across_spatial, parameter.eps
        filler = FillerParameter(type="constant", value=1)
        if parameter.HasField("scale_filler"):
            filler = parameter.scale_filler
        self.add_blob(() if parameter.channel_shared else (shape[1],), filler)

    def _check_axes(self, shape: Shape) -> None:
        if len(shape) < 2:
            raise self.error(f"expected a bottom (N, C, ...), found {list(shape)}")

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        (shape,) = bottom_shapes
        self._check_axes(shape)
        scales = self.blobs[0].shape
        if scales and shape[1] != scales[0]:
            raise self.error(f"has a scale for {scales[0]} channels, found {list(shape)}")
        return [shape]

    def forward(self, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> list[Tensor]:
        (bottom,), (scale,) = bottoms, params
        axes = tuple(range(1, bottom.dim())) if self.across_spatial else (1,)
        factor = (bottom.square().sum(axes, keepdim=True) + self.eps).rsqrt()
        if scale.dim():
            scale = scale.reshape(-1, *[1] * (bottom.dim() - 2))
        return [bottom * factor * scale]
