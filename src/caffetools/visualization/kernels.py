"""A layer's kernels before and after training, on one scale, and what training changed."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Optional

import numpy as np
from matplotlib.axes import Axes

from caffetools.cli import ToolError, run
from caffetools.plots.style import add_output, figure_file
from caffetools.visualization.tiles import tiled
from caffetools.weights import array, is_inner_product, layers_with_blobs, read_message


def read_kernels(path: Path, layer: Optional[str] = None) -> tuple[str, np.ndarray]:
    """Name and weights (kernels, channels, height, width) of a convolution in a caffemodel.

    That is ``layer``, or the first whose weights have a spatial extent. Raises
    :class:`ToolError` where there is none.
    """
    spatial = spatial_kernels(path)
    if layer is None and spatial:
        layer = next(iter(spatial))
    if layer not in spatial:
        raise ToolError(
            f"{path}: no convolution {layer or ''} with kernels to show; it has "
            f"{', '.join(spatial) or 'none at all'}"
        )
    return layer, spatial[layer]


def spatial_kernels(path: Path) -> dict[str, np.ndarray]:
    """The weights (kernels, channels, height, width) of more than one place, by layer name."""
    return {
        layer.name: kernels
        for layer in layers_with_blobs(read_message(path), str(path))
        # Which have four axes in files of Caffe's older format.
        if not is_inner_product(layer)
        for kernels in [array(layer.blobs[0])]
        if kernels.ndim == 4 and kernels.shape[2] * kernels.shape[3] > 1
    }


def as_grid(kernels: np.ndarray, limit: float) -> np.ndarray:
    """Kernels (K, C, h, w) side by side as one picture, values from 0 to 1.

    ``-limit`` is black, 0 middle gray, ``limit`` white; one white pixel lies between tiles.
    Three channels make colour tiles, (rows, columns, 3), turned from Caffe's BGR to RGB;
    any other number gives a gray tile for each channel of each kernel.
    """
    _count, channels, height, width = kernels.shape
    is_colour = channels == 3
    tiles = (
        kernels[:, ::-1].transpose(0, 2, 3, 1) if is_colour else kernels.reshape(-1, height, width)
    )
    return tiled(np.clip(0.5 + tiles / (2 * limit), 0, 1))


class Panel(NamedTuple):
    """Kernels (K, C, h, w), and the weight that is white, as its negative is black."""

    title: str
    kernels: np.ndarray
    limit: float


@dataclass(frozen=True)
class KernelsDisplay:
    """The panels of a layer. Before and after share their limit; the difference has its own."""

    layer: str
    panels: list[Panel]

    @classmethod
    def from_weights(
        cls, layer: str, before: Optional[np.ndarray], after: np.ndarray
    ) -> KernelsDisplay:
        """Panels for after and, where there is a before, for that and ``after - before``.

        The title of after tells ``|after - before| / |before|``, that of the difference its
        limit. Raises :class:`ToolError` where the shapes differ.
        """
        if before is None:
            return cls(layer, [Panel("after", after, _largest(after))])
        if before.shape != after.shape:
            raise ToolError(
                f"layer {layer!r}: kernels before are {before.shape}, after {after.shape}; compare "
                "two models of one net"
            )
        difference = after - before
        change = np.linalg.norm(difference) / (np.linalg.norm(before) or 1.0)
        told = f"changed by {change:.1%}" if change else "unchanged"
        limit, own = _largest(before, after), _largest(difference)
        scale = f"difference\non a scale of its own, ±{own:.2g}" if change else "no difference"
        return cls(
            layer,
            [
                Panel(f"before\nscale ±{limit:.2g}", before, limit),
                Panel(f"after ({told})\nscale ±{limit:.2g}", after, limit),
                Panel(scale, difference, own),
            ],
        )

    def plot(self, axes: Sequence[Axes]) -> Sequence[Axes]:
        """Draw each panel on one of ``axes``."""
        for ax, panel in zip(axes, self.panels):
            ax.imshow(as_grid(panel.kernels, panel.limit), cmap="gray", vmin=0, vmax=1)
            ax.set_title(f"{self.layer}, {panel.title}", fontsize=10)
            ax.axis("off")
        return axes


def _largest(*arrays: np.ndarray) -> float:
    return max(float(np.abs(array).max()) for array in arrays) or 1.0


def main(arguments: Sequence[str]) -> None:
    """``python -m caffetools.visualization.kernels``"""
    parser = argparse.ArgumentParser(
        prog="python -m caffetools.visualization.kernels", description=__doc__
    )
    parser.add_argument("--before", type=Path, help="caffemodel that training started from")
    parser.add_argument("--after", type=Path, required=True, help="caffemodel that it ended with")
    parser.add_argument("--layer", help="its name (default: the first convolution)")
    add_output(parser)
    options = parser.parse_args(arguments)
    if options.layer is None and not spatial_kernels(options.after):
        # A net of InnerProduct layers alone is no mistake.
        with figure_file(options.output, 3.6, 1.2) as figure:
            figure.suptitle("no convolution with kernels to show", y=0.6)
        return
    layer, after = read_kernels(options.after, options.layer)
    before = read_kernels(options.before, layer)[1] if options.before else None
    display = KernelsDisplay.from_weights(layer, before, after)
    with figure_file(options.output, 3.6 * len(display.panels), 4.1) as figure:
        axes = figure.subplots(1, len(display.panels), squeeze=False, gridspec_kw={"wspace": 0.08})
        display.plot(list(axes[0]))


if __name__ == "__main__":
    run(main)
