"""Arrays as small pictures side by side, with values from 0 to 1."""

from __future__ import annotations

from typing import Optional

import numpy as np


def tiled(tiles: np.ndarray, columns: Optional[int] = None, gap: int = 1) -> np.ndarray:
    """``tiles`` (N, h, w) or (N, h, w, 3) as one picture, row by row.

    Args:
        columns: tiles in a row; by default as many as make the picture about as many high.
        gap: white pixels between tiles. What is left of the last row is white too.

    Returns:
        (rows * (h + gap) - gap, columns * (w + gap) - gap), with a last axis of 3 in colour.
    """
    count, height, width = tiles.shape[:3]
    columns = columns or int(np.ceil(np.sqrt(count)))
    rows = -(-count // columns)
    grid = np.ones((rows * columns, height + gap, width + gap, *tiles.shape[3:]))
    grid[:count, :height, :width] = tiles
    grid = grid.reshape(rows, columns, *grid.shape[1:]).swapaxes(1, 2)
    grid = grid.reshape(rows * (height + gap), columns * (width + gap), *tiles.shape[3:])
    return grid[: len(grid) - gap, : grid.shape[1] - gap]


def stretched(values: np.ndarray, each: bool = False) -> np.ndarray:
    """``(x - min) / (max - min)``, so that the least value is 0 and the greatest 1.

    Where all values are the same, and so nothing is to be told apart, they become 0.5. Infinite
    values become 0 or 1, NaN stays.

    Args:
        each: take least and greatest of each ``values[i, ...]``, not of all.
    """
    values = values.astype(np.float64)
    axes = tuple(range(1, values.ndim)) if each else None
    is_finite = np.isfinite(values)
    least = np.min(values, axis=axes, keepdims=True, where=is_finite, initial=np.inf)
    greatest = np.max(values, axis=axes, keepdims=True, where=is_finite, initial=-np.inf)
    spread = greatest - least
    is_flat = ~(spread > 0)
    with np.errstate(invalid="ignore"):
        scaled = (values - least) / np.where(is_flat, 1.0, spread)
    return np.clip(np.where(is_flat & is_finite, 0.5, scaled), 0, 1)


def enlarged(picture: np.ndarray, zoom: int) -> np.ndarray:
    """Each pixel of a picture (h, w) as a square of ``zoom`` by ``zoom``."""
    return picture.repeat(zoom, axis=0).repeat(zoom, axis=1)
