"""Anchors: the boxes that a region proposal network tells apart and moves."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

SCALES = (8.0, 16.0, 32.0)
RATIOS = (0.5, 1.0, 2.0)
BASE_SIZE = 16


def base_anchors(
    scales: Sequence[float] = SCALES,
    ratios: Sequence[float] = RATIOS,
    base_size: int = BASE_SIZE,
) -> Tensor:
    """The anchors of the first cell, shape ``(A, 4)``, float64; ratio by ratio, each in all scales.

    They lie around the middle of the box ``(0, 0, base_size - 1, base_size - 1)``. One of ratio
    ``r`` (height to width) and scale ``s`` is ``s w`` wide and ``s h`` high, where
    ``w = round(base_size / sqrt(r))`` and ``h = round(w r)``, halves to the even number.

    Source: ``generate_anchors.py`` of py-faster-rcnn; Ren et al. 2015.
    """
    shapes = torch.tensor(ratios, dtype=torch.float64)
    widths = (base_size**2 / shapes).sqrt().round()
    heights = (widths * shapes).round()
    scale = torch.tensor(scales, dtype=torch.float64)[None, :, None]
    reach = (torch.stack([widths, heights], 1)[:, None] * scale - 1).flatten(0, 1) / 2
    middle = (base_size - 1) / 2
    return torch.cat([middle - reach, middle + reach], 1)


def shifted_anchors(base: Tensor, height: int, width: int, stride: float) -> Tensor:
    """The anchors of all cells of a feature map, shape ``(height width A, 4)``.

    The anchors of a cell stand together, and the cells follow each other row by row. The cell of
    row ``i`` and column ``j`` has those of ``base`` moved by ``(j stride, i stride)`` pixels.

    Source: ``proposal_layer.py`` of py-faster-rcnn.
    """
    rows = torch.arange(height, dtype=base.dtype, device=base.device) * stride
    columns = torch.arange(width, dtype=base.dtype, device=base.device) * stride
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    moves = torch.stack([x, y, x, y], 2)
    return (moves[:, :, None] + base).reshape(-1, 4)
