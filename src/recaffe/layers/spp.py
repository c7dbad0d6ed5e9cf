"""SPP, spatial pyramid pooling."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from recaffe.layers.base import Layer, Shape, register
from recaffe.layers.pooling import Pooling
from recaffe.proto.schema import LayerParameter


@register("SPP")
class SPP(Layer):
    """Poolings into 1, 4, 16 ... windows, side by side: as many values for images of any size.

    Level ``l`` of ``pyramid_height`` has ``b = 2^l`` windows along each axis, of the size
    ``k = ceil(S / b)``, without overlap, over the image padded by ``(k b - S + 1) // 2``.

    Shapes: bottom ``(N, C, H, W)``; top ``(N, C (1 + 4 + 16 + ...))``, the levels one after
    another; with a single level ``(N, C, 1, 1)``, which Caffe leaves as it is.

    Source: ``spp_layer.cpp``; He et al. 2014.
    """

    puts_aside = True

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        parameter = self.param.spp_param
        if parameter.pool == parameter.STOCHASTIC:
            raise self.error("stochastic pooling is not supported, nor is it on BVLC's CPU")
        if parameter.pyramid_height < 1:
            raise self.error("pyramid_height must be at least 1")
        self._levels: list[Pooling] = []
        self._made_for: Shape = ()

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        (shape,) = bottom_shapes
        if len(shape) != 4:
            raise self.error(f"expected a bottom (N, C, H, W), found {list(shape)}")
        self._follow(tuple(shape))
        tops = [level.top_shapes([shape])[0] for level in self._levels]
        if len(tops) == 1:
            return tops
        return [(shape[0], sum(channels * rows * cols for _, channels, rows, cols in tops))]

    def _follow(self, shape: Shape) -> None:
        """Make the poolings for images of that shape."""
        if shape == self._made_for:
            return
        self._levels = [
            self._level(level, shape) for level in range(self.param.spp_param.pyramid_height)
        ]
        self._made_for = shape

    def _level(self, level: int, shape: Shape) -> Pooling:
        bins = 2**level
        kernel = [-(-size // bins) for size in shape[2:]]
        pad = [(k * bins - size + 1) // 2 for k, size in zip(kernel, shape[2:], strict=True)]
        if any(p >= k for p, k in zip(pad, kernel, strict=True)):
            raise self.error(
                f"the bottom {list(shape)} is too small for {bins} by {bins} windows: those of "
                f"{list(kernel)} would need a pad of {pad}; lower pyramid_height "
                f"{self.param.spp_param.pyramid_height}"
            )
        param = LayerParameter(name=self.name, type="Pooling", bottom=["image"], top=["level"])
        pooling = param.pooling_param
        pooling.pool = self.param.spp_param.pool
        pooling.kernel_h, pooling.kernel_w = pooling.stride_h, pooling.stride_w = kernel
        pooling.pad_h, pooling.pad_w = pad
        made = Pooling(param, self.phase)
        made.setup([shape])
        return made

    def forward(self, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> list[Tensor]:
        (bottom,) = bottoms
        self._follow(tuple(bottom.shape))
        tops = [level.forward([bottom], [])[0] for level in self._levels]
        if len(tops) == 1:
            return tops
        return [torch.cat([top.flatten(1) for top in tops], 1)]
