"""A net drawn as a graph, from its data down to its loss: a box a layer, an arrow a blob.

A layer stands one row below the lowest of those it reads from, and layers that work in place, as
ReLU and Dropout do, stand in the box of the layer before. Boxes tell the type, so that the colours
are no more than a help; boxes are hatched where their layers have weights and none of these learn,
and dotted where some do. (A BatchNorm counts where it is alone: its statistics have no rate.)
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from caffe.proto import caffe_pb2
from caffetools import prototxt
from caffetools.cli import ToolError, run
from caffetools.plots.style import HATCHES, add_output, figure_file

# As light as black letters on them need; all of much the same grey.
_COLOURS = {
    "Convolution": "#f4b6a6",
    "Deconvolution": "#f4b6a6",
    "InnerProduct": "#d9c2ee",
    "Pooling": "#f7d79a",
    "Data": "#d5d9de",
    "Input": "#d5d9de",
}
_OTHER = "#bcd7ef"
_LOSS = "#bfe3c8"
_BOX = (2.5, 0.62)  # inches
_ROW = 1.02  # inches from box to box
_COLUMN = 3.0
_ASIDE = 0.22
_MOST_ROWS = 400
_LETTERS = 30


@dataclass(frozen=True)
class Box:
    """A layer and those that work on its top in place.

    Attributes:
        row: how many boxes are above it on the longest way from the data.
        column: its place in the row, from 0 in steps of 1, the middle of a row being the same.
    """

    layers: list[Any]
    row: int
    column: float

    @property
    def first(self) -> Any:
        """The layer that the box is of."""
        return self.layers[0]

    @property
    def lines(self) -> list[str]:
        """What is written in it: the name, then type and settings, then the layers in place."""
        inside = [layer.type + " frozen" * is_frozen(layer) for layer in self.layers[1:]]
        return [_short(self.first.name), _short(" · ".join([settings(self.first), *inside]))]

    @property
    def hatch(self) -> str:
        """The box's pattern: lines where nothing in it learns, dots where some layers do not."""
        weighted = [layer for layer in self.layers if prototxt.learnable_blobs(layer)]
        judged = [layer for layer in weighted if layer.type != "BatchNorm"] or weighted
        frozen = [is_frozen(layer) for layer in judged]
        return HATCHES[2 * any(frozen) - all(frozen)] if frozen else HATCHES[0]


def settings(layer: Any) -> str:
    """A layer's type with what tells it from others: its outputs, its window, its rate."""
    parts = [layer.type]
    if layer.type in ("Convolution", "Deconvolution"):
        param = layer.convolution_param
        kernel = _axes(param.kernel_size, param.kernel_h, param.kernel_w)
        stride = _axes(param.stride, param.stride_h, param.stride_w)
        parts.append(f"{param.num_output}, {_window(kernel, stride)}")
    elif layer.type == "Pooling":
        param = layer.pooling_param
        kernel = _axes([param.kernel_size], param.kernel_h, param.kernel_w)
        stride = _axes([param.stride], param.stride_h, param.stride_w)
        window = "global" if param.global_pooling else _window(kernel, stride)
        parts = [f"{param.PoolMethod.Name(param.pool)} {layer.type}", window]
    elif layer.type == "InnerProduct":
        parts.append(str(layer.inner_product_param.num_output))
    rates = [spec.lr_mult for spec in layer.param]
    if is_frozen(layer):
        parts.append("frozen")
    elif prototxt.learnable_blobs(layer) and set(rates) - {1.0, 2.0}:
        parts.append("lr " + ",".join(f"{rate:g}" for rate in rates))
    return " ".join(parts)


def _axes(sizes: Sequence[int], height: int, width: int) -> list[int]:
    """A size an axis: those of height and width, or else the listed ones, one being for all."""
    if height or width:
        return [height, width]
    sizes = [*sizes] or [1]
    return sizes * 2 if len(sizes) == 1 else sizes


def _window(kernel: Sequence[int], stride: Sequence[int]) -> str:
    """``3x5/2``, the stride an axis where they differ: ``3x5/2x1``."""
    steps = stride[:1] if len(set(stride)) == 1 else stride
    return "x".join(map(str, kernel)) + "/" + "x".join(map(str, steps))


def is_frozen(layer: Any) -> bool:
    """Whether the layer has weights, and every rate multiplier of theirs is 0."""
    count = prototxt.learnable_blobs(layer)
    rates = [spec.lr_mult for spec in layer.param]
    return bool(count) and len(rates) >= count and not any(rates)


@dataclass(frozen=True)
class GraphDisplay:
    """Boxes in forward order, and arrows between them by their places in ``boxes``."""

    boxes: list[Box]
    arrows: list[tuple[int, int]]

    @classmethod
    def from_net(cls, net: Any, phase: int) -> GraphDisplay:
        """Lay out a NetParameter in one phase, as :meth:`from_layers` does."""
        inputs = [
            caffe_pb2.LayerParameter(name=name, type="Input", top=[name]) for name in net.input
        ]
        return cls.from_layers([*inputs, *prototxt.phase_view(net, phase)])

    @classmethod
    def from_layers(cls, layers: Sequence[Any]) -> GraphDisplay:
        """Lay out the layers of one phase, in forward order.

        Raises :class:`ToolError` where there are none, or a layer reads a blob that no layer
        before it makes.
        """
        members: list[list[Any]] = []
        rows: list[int] = []
        arrows: list[tuple[int, int]] = []
        made: dict[str, int] = {}
        for layer in layers:
            missing = [name for name in layer.bottom if name not in made]
            if missing:
                raise ToolError(
                    f"layer {layer.name!r}: no layer before it makes its bottom {missing[0]!r}; "
                    "draw the phase that has one"
                )
            if list(layer.top) == list(layer.bottom) and len(layer.top) == 1:
                members[made[layer.bottom[0]]].append(layer)
                continue
            sources = sorted({made[name] for name in layer.bottom})
            rows.append(1 + max((rows[source] for source in sources), default=-1))
            arrows += [(source, len(members)) for source in sources]
            members.append([layer])
            made.update(dict.fromkeys(layer.top, len(members) - 1))
        if not members:
            raise ToolError("the net has no layers in this phase, so there is nothing to draw")
        columns = _columns(rows, arrows)
        return cls([Box(*each) for each in zip(members, rows, columns)], arrows)

    @property
    def size(self) -> tuple[float, float]:
        """Width and height of the drawing in inches; :class:`ToolError` for what is too long."""
        rows = 1 + max(box.row for box in self.boxes)
        if rows > _MOST_ROWS:
            raise ToolError(f"the net is {rows} layers deep, more than the {_MOST_ROWS} drawn")
        columns = [box.column for box in self.boxes]
        return (max(columns) - min(columns) + 1) * _COLUMN, rows * _ROW

    def plot(self, ax: Axes) -> Axes:
        """Draw on axes that are as large as :attr:`size` tells."""
        for source, target in self.arrows:
            self._plot_arrow(self.boxes[source], self.boxes[target], ax)
        for box in self.boxes:
            _plot_box(box, ax)
        columns = [box.column for box in self.boxes]
        ax.set(
            xlim=((min(columns) - 0.5) * _COLUMN, (max(columns) + 0.5) * _COLUMN),
            ylim=((max(box.row for box in self.boxes) + 0.5) * _ROW, -0.5 * _ROW),
        )
        ax.axis("off")
        return ax

    def _plot_arrow(self, source: Box, target: Box, ax: Axes) -> None:
        start = (source.column * _COLUMN, source.row * _ROW + _BOX[1] / 2)
        end = (target.column * _COLUMN, target.row * _ROW - _BOX[1] / 2)
        bend = 0.0
        if self._is_barred(source, target):
            # Along the boxes' right side.
            start = (start[0] + _BOX[0] / 2, source.row * _ROW)
            end = (end[0] + _BOX[0] / 2, target.row * _ROW)
            bend = -2 * _ASIDE / (end[1] - start[1])
        ax.add_patch(
            FancyArrowPatch(
                start, end, arrowstyle="-|>", mutation_scale=9, linewidth=0.9, color="#566372",
                shrinkA=0, shrinkB=0, connectionstyle=f"arc3,rad={bend}", zorder=1,
            )
        )  # fmt: skip

    def _is_barred(self, source: Box, target: Box) -> bool:
        """Whether boxes stand between two others of one column."""
        return abs(source.column - target.column) < 0.5 and any(
            source.row < box.row < target.row and abs(box.column - source.column) < 0.5
            for box in self.boxes
        )


def _columns(rows: Sequence[int], arrows: Sequence[tuple[int, int]]) -> list[float]:
    """A column for each box: a row's boxes side by side, in the order of what they read from."""
    columns = [0.0] * len(rows)
    for row in range(1 + max(rows)):
        boxes = [index for index, own in enumerate(rows) if own == row]
        sources = {index: [columns[a] for a, b in arrows if b == index] for index in boxes}
        boxes.sort(key=lambda index: float(np.mean(sources[index] or [0.0])))
        for place, index in enumerate(boxes):
            columns[index] = place - (len(boxes) - 1) / 2
    return columns


def _plot_box(box: Box, ax: Axes) -> None:
    width, height = _BOX
    x, y = box.column * _COLUMN, box.row * _ROW
    is_loss = prototxt.is_loss(box.first)
    colour = _LOSS if is_loss else _COLOURS.get(box.first.type, _OTHER)
    hatch = box.hatch
    ax.add_patch(
        FancyBboxPatch(
            (x - width / 2, y - height / 2), width, height,
            boxstyle="round,pad=0,rounding_size=0.1", facecolor=colour, edgecolor="#1d2733",
            linewidth=0.8, hatch=hatch, zorder=2,
        )
    )  # fmt: skip
    behind = {"boxstyle": "square,pad=0.1", "facecolor": colour, "edgecolor": "none"}
    for line, shift, weight in zip(box.lines, (-0.13, 0.15), ("bold", "normal")):
        ax.text(
            x, y + shift, line, ha="center", va="center", fontsize=8, fontweight=weight,
            bbox=behind if hatch else None, zorder=3,
        )  # fmt: skip


def _short(text: str) -> str:
    return text if len(text) <= _LETTERS else text[: _LETTERS - 1] + "…"


def main(arguments: Sequence[str]) -> None:
    """``python -m caffetools.visualization.graph``"""
    parser = argparse.ArgumentParser(
        prog="python -m caffetools.visualization.graph", description=__doc__
    )
    parser.add_argument("--net", type=Path, required=True, help="the net's prototxt")
    parser.add_argument(
        "--phase", choices=tuple(prototxt.PHASES.values()), default="TRAIN", help="default: TRAIN"
    )
    add_output(parser)
    options = parser.parse_args(arguments)
    if not options.net.is_file():
        raise ToolError(f"--net {options.net}: no such prototxt")
    net = prototxt.read_net(options.net)
    phase = next(key for key, name in prototxt.PHASES.items() if name == options.phase)
    display = GraphDisplay.from_net(net, phase)
    with figure_file(options.output, *display.size) as figure:
        display.plot(figure.subplots())


if __name__ == "__main__":
    run(main)
