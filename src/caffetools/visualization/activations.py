"""What each blob of a net holds for chosen images: maps as tiles, vectors as lines.

Each blob is stretched by itself: its least value is black and its greatest white.
"""

from __future__ import annotations

import argparse
import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Optional

import numpy as np
from matplotlib.axes import Axes

from caffetools.cli import ToolError, run
from caffetools.plots.style import COLOURS, add_output, figure_file
from caffetools.spread import spread
from caffetools.visualization.images import add_arguments
from caffetools.visualization.nets import Answering, Subject
from caffetools.visualization.tiles import stretched, tiled

_MOST_MAPS = 64
_MOST_BLOBS = 200
_MOST_BARS = 60
_COLUMNS = 4
_LONGEST = 400.0  # inches of a side: 60,000 pixels, and a PNG has at most 65,535
_PANEL = 2.3  # inches


@dataclass(frozen=True)
class Panel:
    """What one blob holds for one image: ``values`` without the axis of the batch."""

    blob: str
    values: np.ndarray

    @property
    def are_maps(self) -> bool:
        """Whether it is maps (channels, height, width), and no vector."""
        return self.values.ndim == 3 and self.values[0].size > 1

    @property
    def title(self) -> str:
        """The blob's name and shape, and how many maps of how many are shown."""
        shape = "x".join(map(str, self.values.shape)) or "1"
        left_out = self.are_maps and len(self.values) > _MOST_MAPS
        return f"{self.blob}: {shape}" + (f"\nthe first {_MOST_MAPS} maps" if left_out else "")

    def plot(self, ax: Axes) -> Axes:
        """Draw maps as tiles, a short vector as bars and a long one as a line."""
        ax.set_title(self.title, fontsize=9)
        if self.are_maps:
            ax.imshow(tiled(stretched(self.values[:_MOST_MAPS])), cmap="gray", vmin=0, vmax=1)
            ax.axis("off")
            return ax
        values = self.values.ravel()
        if len(values) <= _MOST_BARS:
            ax.bar(range(len(values)), values, color=COLOURS[0])
        else:
            ax.plot(values, color=COLOURS[0], linewidth=0.6)
        ax.tick_params(labelsize=7)
        return ax


def blob_names(net: Any, patterns: Optional[Sequence[str]] = None) -> list[str]:
    """The net's blobs that one of the patterns is for, in forward order.

    Without patterns they are all blobs, or 200 evenly spaced ones of more. The copies that
    Caffe's own Split layers make are left out. Raises :class:`ToolError` where a pattern is for
    none.
    """
    kinds = {name: layer.type for name, layer in zip(net._layer_names, net.layers)}
    copies = {top for name, kind in kinds.items() if kind == "Split" for top in net.top_names[name]}
    names = [name for name in net.blobs if name not in copies]
    if patterns is None:
        return spread(names, _MOST_BLOBS)
    for pattern in patterns:
        if not fnmatch.filter(names, pattern):
            raise ToolError(
                f"--blob {pattern}: the net has no such blob; it has {', '.join(names)}"
            )
    return [name for name in names if any(fnmatch.fnmatchcase(name, each) for each in patterns)]


def panels_of(net: Answering, inputs: np.ndarray, blobs: Sequence[str]) -> list[list[Panel]]:
    """For each of the images ``inputs`` (N, C, H, W) a panel for each of ``blobs``.

    Images are run one by one, so that blobs of any first axis belong to their image.
    """
    pages = []
    for index in range(len(inputs)):
        net.forward(inputs[index : index + 1])
        held = {name: np.array(net.net.blobs[name].data) for name in blobs}
        pages.append([Panel(name, _without_batch(values)) for name, values in held.items()])
    return pages


def _without_batch(values: np.ndarray) -> np.ndarray:
    return values[0] if values.ndim and len(values) == 1 else values


def main(arguments: Sequence[str]) -> None:
    """``python -m caffetools.visualization.activations``"""
    parser = argparse.ArgumentParser(
        prog="python -m caffetools.visualization.activations", description=__doc__
    )
    add_arguments(parser, count=1)
    parser.add_argument(
        "--blob",
        nargs="+",
        metavar="PATTERN",
        help="blobs to show, as 'conv*' (default: all, up to 200)",
    )
    add_output(parser)
    options = parser.parse_args(arguments)
    subject = Subject(options)
    blobs = blob_names(subject.net.net, options.blob)
    # A page of its own for one image; of several, a column each, for comparing.
    images, count = len(subject.chosen.names), len(blobs) + 1
    columns = _COLUMNS if images == 1 else images
    rows = -(-count // _COLUMNS) if images == 1 else count
    if rows * _PANEL > _LONGEST or columns * _PANEL > _LONGEST:
        raise ToolError(
            f"{len(blobs)} blobs of {images} images are more than fit a picture; choose some "
            "with --blob, or fewer images"
        )
    pages = panels_of(subject.net, subject.all_inputs(), blobs)
    with figure_file(options.output, columns * _PANEL, rows * _PANEL) as figure:
        axes = figure.subplots(rows, columns, squeeze=False)
        in_order = axes.reshape(1, -1) if len(pages) == 1 else axes.T
        for page, column, name, picture in zip(
            pages, in_order, subject.chosen.names, subject.chosen.pictures
        ):
            column[0].imshow(picture, cmap="gray", vmin=0, vmax=255)
            column[0].set_title(name, fontsize=9)
            column[0].axis("off")
            for ax, panel in zip(column[1:], page):
                panel.plot(ax)
            for ax in column[count:]:
                ax.axis("off")


if __name__ == "__main__":
    run(main)
