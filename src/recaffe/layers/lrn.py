"""LRN, local response normalisation."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from recaffe.layers.base import Layer, Shape, register


@register("LRN")
class LRN(Layer):
    """Each value divided by a power of the squares around it (Krizhevsky et al. 2012).

    ACROSS_CHANNELS: ``top = bottom (k + alpha / n sum bottom^2)^-beta``, the sum over the
    ``n = local_size`` channels around. WITHIN_CHANNEL: ``top = bottom (1 + alpha / n^2 sum
    bottom^2)^-beta``, the sum over the ``n`` by ``n`` square around, in the same channel.

    Source: ``lrn_layer.cpp``.
    """

    in_place = True
    puts_aside = True

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        parameter = self.param.lrn_param
        self.size, self.alpha = parameter.local_size, parameter.alpha
        self.beta, self.k = parameter.beta, parameter.k
        self.across = parameter.norm_region == parameter.ACROSS_CHANNELS
        if self.size % 2 == 0:
            raise self.error(f"local_size must be odd, found {self.size}")

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        (shape,) = bottom_shapes
        if len(shape) != 4:
            raise self.error(f"expected a bottom (N, C, H, W), found {list(shape)}")
        return [shape]

    def forward(self, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> list[Tensor]:
        (bottom,) = bottoms
        if self.across:
            sums = self._sum_over_channels(bottom * bottom)
            scale = self.k + self.alpha / self.size * sums
        else:
            scale = 1 + self.alpha * self._mean_within(bottom * bottom)
        return [bottom * scale**-self.beta]

    def _sum_over_channels(self, squares: Tensor) -> Tensor:
        # Shifted additions: twice as fast as pooling over a third axis, which is what
        # torch's own local_response_norm does.
        channels = squares.shape[1]
        half = self._reach(channels)
        padded = F.pad(squares, (0, 0, 0, 0, half, half))
        sums = padded[:, :channels]
        for shift in range(1, 2 * half + 1):
            sums = sums + padded[:, shift : shift + channels]
        return sums

    def _mean_within(self, squares: Tensor) -> Tensor:
        reach = [self._reach(size) for size in squares.shape[2:]]
        window = [2 * half + 1 for half in reach]
        return F.avg_pool2d(squares, window, 1, reach, divisor_override=self.size**2)

    def _reach(self, size: int) -> int:
        """How far from a value others count, of ``size`` in a row: farther off there are none."""
        return min(self.size // 2, max(size - 1, 0))
