"""ROIPooling."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from recaffe.layers.base import Layer, Shape, register

_LOWEST = torch.finfo(torch.float32).min
_MOST_VALUES = 1 << 24  # laid out at once


@register("ROIPooling")
class ROIPooling(Layer):
    """The maximum in each of ``pooled_h`` by ``pooled_w`` bins of each region of interest.

    A region is ``(item, x1, y1, x2, y2)``, its corners in the coordinates of the image, of which
    the bottom is ``spatial_scale`` times as large. The corners are scaled and rounded (halves away
    from zero), both belong to the region, and it is at least 1 by 1. Bin ``p`` of its ``n``
    rows goes from ``floor(p n / pooled_h)`` up to ``ceil((p + 1) n / pooled_h)``, computed in
    single precision as in Caffe, and so for columns; bins may overlap. What lies outside
    of the bottom does not count, and a bin without any of it gives 0. The gradient goes to
    each bin's first maximum.

    Shapes: bottoms ``(N, C, H, W)`` and ``(R, 5)`` or ``(R, 5, 1, 1)``; top ``(R, C, pooled_h,
    pooled_w)``.

    Source: ``roi_pooling_layer.cpp`` of Fast R-CNN's fork; Girshick 2015.
    """

    bottoms = (2, 2)

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        parameter = self.param.roi_pooling_param
        self.size = (parameter.pooled_h, parameter.pooled_w)
        if min(self.size) < 1:
            raise self.error(f"pooled_h and pooled_w must be above 0, found {list(self.size)}")
        self.spatial_scale = parameter.spatial_scale

    def propagates_to(self, bottom_index: int) -> bool:
        return bottom_index == 0

    def refuses_gradient_of(self, bottom_index: int) -> bool:
        return False

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        shape, regions = bottom_shapes
        if len(shape) != 4:
            raise self.error(f"expected a bottom (N, C, H, W), found {list(shape)}")
        if len(regions) < 2 or math.prod(regions[1:]) != 5:
            raise self.error(
                f"expected regions (R, 5) of item, x1, y1, x2 and y2, found {list(regions)}"
            )
        return [(regions[0], shape[1], *self.size)]

    def forward(self, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> list[Tensor]:
        bottom, regions = bottoms
        items, rows, columns = self._bins(bottom, regions.detach().reshape(-1, 5).float())
        # Channels innermost: what is looked up then lies together, and pooling is 30 times as fast.
        values = bottom.permute(0, 2, 3, 1)
        index = _first_maxima(values.detach(), items, rows, columns)
        maxima = values.reshape(-1).gather(0, index.flatten()).view(index.shape)
        empty = (rows[1] <= rows[0])[:, :, None] | (columns[1] <= columns[0])[:, None, :]
        none = torch.where(empty, 0.0, _LOWEST).to(bottom)[..., None]
        top = torch.where(~empty[..., None] & (maxima > _LOWEST), maxima, none)
        return [top.permute(0, 3, 1, 2)]

    def _bins(
        self, bottom: Tensor, regions: Tensor
    ) -> tuple[Tensor, tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """The item of each region; first and last-but-one row of each bin; columns alike."""
        items = regions[:, 0].long()
        outside = (items < 0) | (items >= len(bottom))
        if outside.any():
            raise self.error(
                f"a region is of item {int(items[outside][0])}, but there are {len(bottom)} "
                "items, counted from 0"
            )
        corners = _rounded(regions[:, 1:] * self.spatial_scale)
        left, top, right, bottom_corner = corners.unbind(1)
        rows = _cut(top, bottom_corner, self.size[0], bottom.shape[2])
        columns = _cut(left, right, self.size[1], bottom.shape[3])
        return items, rows, columns


def _rounded(values: Tensor) -> Tensor:
    """To the nearest whole number, halves away from zero, where torch.round goes to even ones."""
    whole = values.trunc()
    return (whole + values.sign() * ((values - whole).abs() >= 0.5)).long()


def _cut(first: Tensor, last: Tensor, bins: int, length: int) -> tuple[Tensor, Tensor]:
    """Where the bins of each region start and end (not included), shape (R, bins)."""
    sizes = (last - first + 1).clamp(min=1)
    step = (sizes.float() / bins)[:, None]
    number = torch.arange(bins, device=first.device, dtype=torch.float32)
    starts = (number * step).floor().long() + first[:, None]
    ends = ((number + 1) * step).ceil().long() + first[:, None]
    return starts.clamp(0, length), ends.clamp(0, length)


def _first_maxima(
    values: Tensor, items: Tensor, rows: tuple[Tensor, Tensor], columns: tuple[Tensor, Tensor]
) -> Tensor:
    """Where in ``values`` (N, H, W, C) each bin's first maximum is; (R, *bins, C).

    The bins of a region are laid side by side, filled up by repeating their last row and column
    to the size of the largest, so that they are windows of an ordinary pooling. Regions whose
    largest bins are alike are pooled together; all at once would need the memory for the largest
    bin everywhere.
    """
    _, height, width, channels = values.shape
    found = items.new_empty((len(items), rows[0].shape[1], columns[0].shape[1], channels))
    # As in Caffe no NaN and no -inf is a maximum, except where there is nothing else.
    clean = torch.where(values > _LOWEST, values, _LOWEST).reshape(-1, channels)
    firsts = items * (height * width)
    for regions, tall, wide in _alike(rows, columns, channels):
        y = _laid_out(rows[0][regions], rows[1][regions], tall, height)
        x = _laid_out(columns[0][regions], columns[1][regions], wide, width)
        places = firsts[regions, None, None] + y[:, :, None] * width + x[:, None]
        laid_out = clean.index_select(0, places.flatten()).view(*places.shape, channels)
        _, at = F.max_pool2d(laid_out.permute(0, 3, 1, 2), (tall, wide), return_indices=True)
        at = at.permute(0, 2, 3, 1)
        found[regions] = places.flatten(1).gather(1, at.flatten(1)).view(at.shape)
    return found.mul_(channels).add_(torch.arange(channels, device=items.device))


def _alike(
    rows: tuple[Tensor, Tensor], columns: tuple[Tensor, Tensor], channels: int
) -> Iterator[tuple[Tensor, int, int]]:
    """The regions in groups, each with height and width of the largest bin that it has room for."""
    largest = torch.stack([_roomy((ends - starts).amax(1)) for starts, ends in (rows, columns)], 1)
    sizes, group = largest.unique(dim=0, return_inverse=True)
    bins = rows[0].shape[1] * columns[0].shape[1]
    for number, (tall, wide) in enumerate(sizes.tolist()):
        (regions,) = (group == number).nonzero(as_tuple=True)
        room = bins * tall * wide * channels
        for part in regions.split(max(1, _MOST_VALUES // room)):
            yield part, tall, wide


def _roomy(sizes: Tensor) -> Tensor:
    """At least the sizes, and few different ones: 1, 2, 3, 4, 6, 8, 12, 16, 24 and so on."""
    sizes = sizes.clamp(min=1)
    power = 2 ** (sizes - 1).clamp(min=1).double().log2().floor().long()
    return torch.where(
        sizes <= 2, sizes, torch.where(2 * sizes <= 3 * power, 3 * power // 2, 2 * power)
    )


def _laid_out(starts: Tensor, ends: Tensor, longest: int, length: int) -> Tensor:
    """Of each region the rows of all bins, ``longest`` for each; any for an empty bin."""
    steps = torch.arange(longest, device=starts.device)
    rows = torch.minimum(starts[:, :, None] + steps, ends[:, :, None] - 1)
    return rows.clamp(0, length - 1).flatten(1)
