"""Interp, bilinear interpolation."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from recaffe.layers.base import Layer, Shape, register


@register("Interp")
class Interp(Layer):
    """The image at another size, bilinear between corners that stay corners.

    A negative ``pad_beg`` and ``pad_end`` first cut so many rows and columns off. Of the rest,
    ``h`` by ``w``, the top's size is ``height`` by ``width``, that of a second bottom, or each
    side ``(h - 1) / shrink_factor + 1`` (rounded down), then ``h + (h - 1) (zoom_factor -
    1)``.

    Shapes: bottom ``(N, C, H, W)``; top the same but for the size.

    Source: ``interp_layer.cpp`` of DeepLab's fork, and of those after it that let a net shrink and
    zoom at once.
    """

    bottoms = (1, 2)

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        parameter = self.param.interp_param
        explicit = parameter.HasField("height") or parameter.HasField("width")
        factors = parameter.HasField("zoom_factor") or parameter.HasField("shrink_factor")
        if explicit + factors + (len(bottom_shapes) == 2) != 1:
            raise self.error(
                "expected the top's size in one way: height and width, or zoom_factor and "
                "shrink_factor, or a second bottom of that size"
            )
        if explicit and not (parameter.HasField("height") and parameter.HasField("width")):
            raise self.error("give both height and width")
        self.crop = (-parameter.pad_beg, -parameter.pad_end)
        if min(self.crop) < 0:
            raise self.error(
                f"pad_beg and pad_end can only cut off, so they are 0 or negative, found "
                f"{parameter.pad_beg} and {parameter.pad_end}"
            )
        for name in ("zoom_factor", "shrink_factor"):
            if getattr(parameter, name) < 1:
                raise self.error(f"{name} must be at least 1, found {getattr(parameter, name)}")

    def propagates_to(self, bottom_index: int) -> bool:
        return bottom_index == 0

    def refuses_gradient_of(self, bottom_index: int) -> bool:
        return False

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        shape = bottom_shapes[0]
        if any(len(each) != 4 for each in bottom_shapes):
            raise self.error(
                f"expected bottoms (N, C, H, W), found {[list(each) for each in bottom_shapes]}"
            )
        sizes = tuple(size - sum(self.crop) for size in shape[2:])
        if min(sizes) < 1:
            raise self.error(
                f"pad_beg {-self.crop[0]} and pad_end {-self.crop[1]} leave nothing of "
                f"{list(shape)}"
            )
        parameter = self.param.interp_param
        if len(bottom_shapes) == 2:
            top = bottom_shapes[1][2:]
        elif parameter.HasField("height"):
            top = (parameter.height, parameter.width)
        else:
            shrunk = ((size - 1) // parameter.shrink_factor + 1 for size in sizes)
            top = tuple(size + (size - 1) * (parameter.zoom_factor - 1) for size in shrunk)
        if min(top) < 1:
            raise self.error(f"height and width must be at least 1, found {list(top)}")
        return [(*shape[:2], *top)]

    def forward(self, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> list[Tensor]:
        bottom = bottoms[0]
        ((_, _, *size),) = self.top_shapes([tuple(each.shape) for each in bottoms])
        begin, end = self.crop
        height, width = bottom.shape[2:]
        cut = bottom[:, :, begin : height - end, begin : width - end]
        return [F.interpolate(cut, tuple(size), mode="bilinear", align_corners=True)]
