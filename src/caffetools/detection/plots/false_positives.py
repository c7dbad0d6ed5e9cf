"""What each class' first detections are, of which there are as many as its objects."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from caffetools.cli import run
from caffetools.detection.mistakes import KINDS
from caffetools.detection.plots.metrics import read_metrics
from caffetools.plots.style import COLOURS, HATCHES, add_output, figure_file, plain

_SHADES = {
    "right": COLOURS[0],
    **dict(zip(KINDS, (COLOURS[4], COLOURS[3], COLOURS[2], COLOURS[1]))),
}


@dataclass(frozen=True)
class FalsePositivesDisplay:
    """``counts`` (K, C): by what a detection is, ``right`` and each kind of mistake, and class."""

    classes: list[str]
    counts: np.ndarray

    @classmethod
    def read(cls, metrics: Path) -> FalsePositivesDisplay:
        """The classes that have detections among their first."""
        rows = [row for row in read_metrics(metrics)["classes"] if row["first"] > 0]
        counts = [[row[key] for row in rows] for key in ("first_right", *KINDS)]
        return cls([row["class"] for row in rows], np.array(counts, int).reshape(len(counts), -1))

    def plot(self, ax: Axes) -> Axes:
        """Draw a bar a class, in shares of its first detections, whose number stands at it."""
        places = np.arange(len(self.classes))
        totals = self.counts.sum(axis=0)
        share = self.counts / np.maximum(totals, 1)
        left = np.zeros(len(places))
        for index, ((name, colour), values) in enumerate(zip(_SHADES.items(), share)):
            hatch = HATCHES[index % len(HATCHES)]
            ax.barh(
                places, values, left=left, color=colour, hatch=hatch, edgecolor="white", label=name
            )
            left += values
        ax.set_yticks(
            places, [f"{plain(name)} ({n})" for name, n in zip(self.classes, totals)], fontsize=9
        )
        ax.set(xlim=(0, 1), xlabel="share of the first detections (as many as objects)")
        ax.invert_yaxis()
        ax.grid(False, axis="y")
        ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncol=3, fontsize=9)
        return ax


def main(arguments: Sequence[str]) -> None:
    """``python -m caffetools.detection.plots.false_positives``"""
    parser = argparse.ArgumentParser(
        prog="python -m caffetools.detection.plots.false_positives", description=__doc__
    )
    parser.add_argument("--metrics", type=Path, required=True, help="metrics.json of an evaluation")
    add_output(parser)
    options = parser.parse_args(arguments)
    display = FalsePositivesDisplay.read(options.metrics)
    with figure_file(options.output, 6.4, 2.2 + 0.3 * len(display.classes)) as figure:
        display.plot(figure.subplots())


if __name__ == "__main__":
    run(main)
