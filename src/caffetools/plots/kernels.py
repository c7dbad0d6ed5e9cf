"""A layer's kernels before and after training, all on one scale."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import numpy as np
from matplotlib.axes import Axes

from caffetools.cli import ToolError, run
from caffetools.plots.style import figure_file
from caffetools.weights import read_weights


def read_kernels(path: Path, layer: Optional[str] = None) -> tuple[str, np.ndarray]:
    """Name and weights (kernels, channels, height, width) of a convolution in a caffemodel.

    That is ``layer``, or the first whose weights have a spatial extent.
    """
    weights = read_weights(path)
    spatial = {
        name: blobs[0]
        for name, blobs in weights.items()
        if blobs[0].ndim == 4 and blobs[0].shape[2] * blobs[0].shape[3] > 1
    }
    if layer is None and spatial:
        layer = next(iter(spatial))
    if layer not in spatial:
        raise ToolError(
            f"{path}: no convolution {layer or ''} with kernels to show; it has "
            f"{', '.join(spatial) or 'none at all'}"
        )
    return layer, spatial[layer]


def as_grid(kernels: np.ndarray, limit: float) -> np.ndarray:
    """Kernels (K, C, h, w) side by side as one picture, values from 0 to 1.

    ``-limit`` is black, 0 middle gray, ``limit`` white; one white pixel lies between tiles.
    Three channels make colour tiles, (rows, columns, 3), turned from Caffe's BGR to RGB;
    any other number gives a gray tile for each channel of each kernel.
    """
    _count, channels, height, width = kernels.shape
    colour = channels == 3
    tiles = kernels[:, ::-1].transpose(0, 2, 3, 1) if colour else kernels.reshape(-1, height, width)
    scaled = np.clip(0.5 + tiles / (2 * limit), 0, 1)
    columns = int(np.ceil(np.sqrt(len(scaled))))
    rows = -(-len(scaled) // columns)
    grid = np.ones((rows * columns, height + 1, width + 1, *scaled.shape[3:]))
    grid[: len(scaled), :height, :width] = scaled
    grid = grid.reshape(rows, columns, *grid.shape[1:]).swapaxes(1, 2)
    return grid.reshape(rows * (height + 1), columns * (width + 1), *scaled.shape[3:])[:-1, :-1]


@dataclass(frozen=True)
class KernelsDisplay:
    """Titles and kernels of the panels, and the limit that all of them are scaled by."""

    layer: str
    panels: list[tuple[str, np.ndarray]]
    limit: float

    @classmethod
    def from_weights(
        cls, layer: str, before: Optional[np.ndarray], after: np.ndarray
    ) -> KernelsDisplay:
        """Panels for before (where there is one) and after, with ``|after - before| / |before|``.

        Raises :class:`ToolError` where the shapes differ.
        """
        if before is None:
            return cls(layer, [("after", after)], _largest(after))
        if before.shape != after.shape:
            raise ToolError(
                f"layer {layer!r}: kernels before are {before.shape}, after {after.shape}; compare "
                "two models of one net"
            )
        change = np.linalg.norm(after - before) / (np.linalg.norm(before) or 1.0)
        told = f"changed by {change:.1%}" if change else "unchanged"
        panels = [("before", before), (f"after ({told})", after)]
        return cls(layer, panels, _largest(before, after))

    def plot(self, axes: Sequence[Axes]) -> Sequence[Axes]:
        """Draw each panel on one of ``axes``."""
        for ax, (title, kernels) in zip(axes, self.panels):
            ax.imshow(as_grid(kernels, self.limit), cmap="gray", vmin=0, vmax=1)
            ax.set_title(f"{self.layer}, {title}")
            ax.axis("off")
        return axes


def _largest(*arrays: np.ndarray) -> float:
    return max(float(np.abs(array).max()) for array in arrays) or 1.0


def main(arguments: Sequence[str]) -> None:
    """``python -m caffetools.plots.kernels``"""
    parser = argparse.ArgumentParser(prog="python -m caffetools.plots.kernels", description=__doc__)
    parser.add_argument("--before", type=Path, help="caffemodel that training started from")
    parser.add_argument("--after", type=Path, required=True, help="caffemodel that it ended with")
    parser.add_argument("--layer", help="its name (default: the first convolution)")
    parser.add_argument("--output", type=Path, required=True, help="PNG to write")
    options = parser.parse_args(arguments)
    layer, after = read_kernels(options.after, options.layer)
    before = read_kernels(options.before, layer)[1] if options.before else None
    display = KernelsDisplay.from_weights(layer, before, after)
    with figure_file(options.output, 3.6 * len(display.panels), 3.9) as figure:
        axes = figure.subplots(1, len(display.panels), squeeze=False, gridspec_kw={"wspace": 0.08})
        display.plot(list(axes[0]))


if __name__ == "__main__":
    run(main)
