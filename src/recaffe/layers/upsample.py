"""Upsample: what pooling took, put back where its mask says, or repeated."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from recaffe.layers.base import Layer, Shape, register


@register("Upsample")
class Upsample(Layer):
    """Larger images: by a pooling layer's mask (SegNet's) or by repetition (YOLO's ports).

    With two bottoms, the values and the mask (the second top of a MAX Pooling), each value
    goes to the place ``y W + x`` of the top that the mask has for it; the rest is 0. Where
    windows overlapped and so a place is named twice, the last value stays, and both values get
    the place's gradient, as in SegNet. The top's size is ``upsample_h`` by ``upsample_w``, or
    ``scale`` (or ``scale_h``, ``scale_w``) times the bottom's, less 1 with ``pad_out_h`` or
    ``pad_out_w``.

    With one bottom every value fills ``scale`` by ``scale`` places.

    Shapes: bottom and mask ``(N, C, H, W)``.

    Source: ``upsample_layer.cpp`` of SegNet's fork, Badrinarayanan et al. 2015; that of
    MobileNet-YOLO.
    """

    bottoms = (1, 2)

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        parameter = self.param.upsample_param
        has = parameter.HasField
        self.has_mask = len(bottom_shapes) == 2
        self.size = None
        if has("upsample_h") or has("upsample_w"):
            self.size = (parameter.upsample_h, parameter.upsample_w)
            if min(self.size) < 2:
                raise self.error(
                    f"upsample_h and upsample_w must both be above 1, found {list(self.size)}"
                )
            if not self.has_mask:
                raise self.error("without a mask give scale, not upsample_h and upsample_w")
            return
        if has("scale_h") or has("scale_w"):
            if has("scale") or not (has("scale_h") and has("scale_w")):
                raise self.error("give either scale, or scale_h and scale_w")
            self.scale = (parameter.scale_h, parameter.scale_w)
        else:
            if not self.has_mask and not has("scale"):
                raise self.error("without a mask give scale")
            self.scale = (parameter.scale, parameter.scale)
        self.less = (parameter.pad_out_h, parameter.pad_out_w)
        self._check_scale()

    def _check_scale(self) -> None:
        least = 2 if self.has_mask else 1
        if min(self.scale) < least:
            raise self.error(f"scale must be at least {least}, found {list(self.scale)}")
        if any(self.less) and not self.has_mask:
            raise self.error("pad_out_h and pad_out_w go with a mask only")
        if any(less and scale != 2 for less, scale in zip(self.less, self.scale, strict=True)):
            raise self.error("pad_out_h and pad_out_w go with a scale of 2 only")

    def propagates_to(self, bottom_index: int) -> bool:
        return bottom_index == 0

    def refuses_gradient_of(self, bottom_index: int) -> bool:
        return False

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        shape = bottom_shapes[0]
        if len(shape) != 4:
            raise self.error(f"expected a bottom (N, C, H, W), found {list(shape)}")
        if self.has_mask and bottom_shapes[1] != shape:
            raise self.error(
                f"the mask must have the shape of the values, {list(shape)}, found "
                f"{list(bottom_shapes[1])}"
            )
        size = self.size or tuple(
            length * scale - less
            for length, scale, less in zip(shape[2:], self.scale, self.less, strict=True)
        )
        return [(*shape[:2], *size)]

    def forward(self, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> list[Tensor]:
        bottom = bottoms[0]
        (top,) = self.top_shapes([tuple(each.shape) for each in bottoms])
        if self.has_mask:
            return [self._put_back(bottom, bottoms[1], top)]
        tall, wide = self.scale
        repeated = bottom[:, :, :, None, :, None].expand(-1, -1, -1, tall, -1, wide)
        return [repeated.clone(memory_format=torch.contiguous_format).view(top)]

    def _put_back(self, bottom: Tensor, mask: Tensor, top: Shape) -> Tensor:
        places = top[2] * top[3]
        index = mask.detach().flatten(2).long()
        outside = (index < 0) | (index >= places)
        if outside.any():
            raise self.error(
                f"the mask has the index {int(index[outside][0])}, but a top of {top[2]} by "
                f"{top[3]} has {places} places; it must be as large as the bottom of the Pooling "
                "that made the mask: give upsample_h and upsample_w"
            )
        return bottom.new_zeros(*top[:2], places).scatter(2, index, bottom.flatten(2)).view(top)
