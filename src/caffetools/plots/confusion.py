"""The confusion matrix: true classes down, predicted classes across."""

from __future__ import annotations

import argparse
import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from caffetools.cli import ToolError, run
from caffetools.plots.style import add_output, figure_file, plain

_MOST_NUMBERS = 30
_MOST_NAMES = 60


@dataclass(frozen=True)
class ConfusionDisplay:
    """``counts`` (C, C) with rows = true class; ``share`` of each row's entries."""

    classes: list[str]
    counts: np.ndarray
    share: np.ndarray

    @classmethod
    def from_counts(cls, classes: Sequence[str], counts: np.ndarray) -> ConfusionDisplay:
        """Divide each row by its sum; a class without entries has share 0 everywhere."""
        totals = counts.sum(axis=1, keepdims=True)
        share = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
        return cls(list(classes), counts, share)

    def plot(self, ax: Axes) -> Axes:
        """Draw shares as shades, with the counts where there is room for them."""
        size = len(self.classes)
        ax.imshow(self.share, cmap="Blues", vmin=0, vmax=1)
        ax.grid(False)
        ax.set(xlabel="predicted", ylabel="true")
        if size <= _MOST_NAMES:
            turned = 0 if max(len(name) for name in self.classes) <= 2 else 90
            names = [plain(name) for name in self.classes]
            ax.set_xticks(range(size), names, rotation=turned)
            ax.set_yticks(range(size), names)
        if size <= _MOST_NUMBERS:
            self._write_counts(ax)
        return ax

    def _write_counts(self, ax: Axes) -> None:
        for row, column in zip(*np.nonzero(self.counts)):
            colour = "white" if self.share[row, column] > 0.5 else "#1d2733"
            text = str(self.counts[row, column])
            ax.text(column, row, text, ha="center", va="center", color=colour, fontsize=9)


def read_confusion(path: Path) -> ConfusionDisplay:
    """The matrix of a ``confusion.csv``: header of class names, one row a true class."""
    with path.open(newline="", encoding="utf-8") as stream:
        header, *rows = list(csv.reader(stream)) or [[]]
    classes = header[1:]
    if not classes or [row[0] for row in rows] != classes:
        raise ToolError(
            f"{path}: expected one row for each class of the header ({len(classes)}), found "
            f"{len(rows)}; evaluate again to write it afresh"
        )
    counts = np.array([row[1:] for row in rows], dtype=np.int64)
    return ConfusionDisplay.from_counts(classes, counts)


def sum_of(displays: Sequence[ConfusionDisplay]) -> ConfusionDisplay:
    """All runs' counts added up; :class:`ToolError` where their classes differ."""
    classes = displays[0].classes
    if any(display.classes != classes for display in displays):
        raise ToolError("the confusion matrices have different classes; give runs of one data set")
    return ConfusionDisplay.from_counts(classes, np.sum([d.counts for d in displays], axis=0))


def main(arguments: Sequence[str]) -> None:
    """``python -m caffetools.plots.confusion``"""
    parser = argparse.ArgumentParser(
        prog="python -m caffetools.plots.confusion", description=__doc__
    )
    parser.add_argument(
        "--confusion",
        type=Path,
        nargs="+",
        required=True,
        help="confusion.csv of one run, or of several to add up",
    )
    add_output(parser)
    options = parser.parse_args(arguments)
    display = sum_of([read_confusion(path) for path in options.confusion])
    side = min(12.0, 3.0 + 0.34 * len(display.classes))
    with figure_file(options.output, side, side) as figure:
        display.plot(figure.subplots())


if __name__ == "__main__":
    run(main)
