"""Which share of the objects was missed, by their size."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from caffetools.cli import run
from caffetools.detection.mistakes import SIZES
from caffetools.detection.plots.metrics import read_metrics
from caffetools.plots.style import COLOURS, add_output, figure_file

_TITLES = {
    "pixels": "by area in pixels\n(below 32², below 96², larger)",
    "share_of_image": "by share of the image\n(below 1/300, below 3/100, larger)",
}


@dataclass(frozen=True)
class MissedDisplay:
    """By the way to measure, (S,) objects and (S,) missed ones of each size."""

    counts: dict[str, tuple[np.ndarray, np.ndarray]]
    score: float

    @classmethod
    def read(cls, metrics: Path) -> MissedDisplay:
        """From what an evaluation tells."""
        told = read_metrics(metrics)
        counts = {}
        for way in _TITLES:
            sizes = [told["missed_by_size"][way][size] for size in SIZES]
            objects, missed = (
                np.array([size[key] for size in sizes]) for key in ("objects", "missed")
            )
            counts[way] = (objects, missed)
        return cls(counts, told["operating_point"]["score"])

    def plot(self, axes: Sequence[Axes]) -> Sequence[Axes]:
        """Draw a bar a size on an axis for each way to measure, with its counts."""
        places = np.arange(len(SIZES))
        for ax, (way, (objects, missed)) in zip(axes, self.counts.items()):
            share = missed / np.maximum(objects, 1)
            ax.bar(places, share, 0.6, color=COLOURS[1])
            for place, height, part, whole in zip(range(len(SIZES)), share, missed, objects):
                ax.text(place, height + 0.02, f"{part} of {whole}", ha="center", fontsize=9)
            ax.set_xticks(places, SIZES)
            ax.set_title(_TITLES[way], fontsize=10)
            ax.set_ylim(0, 1.1)
            ax.grid(False, axis="x")
        axes[0].set_ylabel(f"missed at a score of {self.score:.2f}")
        return axes


def main(arguments: Sequence[str]) -> None:
    """``python -m caffetools.detection.plots.missed``"""
    parser = argparse.ArgumentParser(
        prog="python -m caffetools.detection.plots.missed", description=__doc__
    )
    parser.add_argument("--metrics", type=Path, required=True, help="metrics.json of an evaluation")
    add_output(parser)
    options = parser.parse_args(arguments)
    display = MissedDisplay.read(options.metrics)
    with figure_file(options.output, 7.2, 3.4) as figure:
        display.plot(list(figure.subplots(1, 2, sharey=True)))


if __name__ == "__main__":
    run(main)
