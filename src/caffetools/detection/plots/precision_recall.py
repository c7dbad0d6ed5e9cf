"""Precision-recall curves: one line a class, as far as it found its objects."""

from __future__ import annotations

import argparse
import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import numpy as np
from matplotlib.axes import Axes

from caffetools.cli import ToolError, run
from caffetools.detection.plots.metrics import read_metrics
from caffetools.plots.style import add_output, figure_file, line_style, plain

_MOST_POINTS = 2000


@dataclass(frozen=True)
class PrecisionRecallDisplay:
    """Recall and precision of each class, and its average precision."""

    curves: dict[str, tuple[np.ndarray, np.ndarray]]
    average: dict[str, Optional[float]]

    @classmethod
    def read(cls, curves: Path, metrics: Path) -> PrecisionRecallDisplay:
        """The classes with objects, in the order of the list of classes."""
        told = read_metrics(metrics)
        average = {
            row["class"]: row[told["metric"]] for row in told["classes"] if row["objects"] > 0
        }
        points: dict[str, list[tuple[float, float]]] = {name: [] for name in average}
        try:
            with curves.open(newline="", encoding="utf-8") as stream:
                for row in csv.DictReader(stream):
                    points[row["class"]].append((float(row["recall"]), float(row["precision"])))
        except (KeyError, TypeError, ValueError) as error:
            raise ToolError(
                f"{curves}: expected the columns class,recall,precision,score of the classes of "
                f"{metrics} ({error!r}); evaluate again to write both afresh"
            ) from error
        tables = {name: np.array(rows).reshape(-1, 2) for name, rows in points.items()}
        return cls({name: (table[:, 0], table[:, 1]) for name, table in tables.items()}, average)

    def plot(self, ax: Axes) -> Axes:
        """Draw each class' curve, from the precision of its surest detection on."""
        for index, (name, (recall, precision)) in enumerate(self.curves.items()):
            shown = _thinned(recall)
            # The number first: matplotlib leaves names out that begin with an underscore.
            label = f"{self.average[name]:.3f} {plain(name)}"
            if len(shown):
                recall = np.append(0.0, recall[shown])
                precision = np.append(precision[0], precision[shown])
            ax.plot(recall, precision, label=label, **line_style(index))
        ax.set(xlabel="recall", ylabel="precision", xlim=(0, 1.02), ylim=(0, 1.02))
        if self.curves:
            ax.legend(
                loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=9,
                title="average precision", ncol=-(-len(self.curves) // 24),
            )  # fmt: skip
        return ax


def _thinned(values: np.ndarray) -> np.ndarray:
    """Places of at most so many points as can be told apart, the first and the last among them."""
    count = min(len(values), _MOST_POINTS)
    return np.unique(np.linspace(0, len(values) - 1, count).astype(int))


def main(arguments: Sequence[str]) -> None:
    """``python -m caffetools.detection.plots.precision_recall``"""
    parser = argparse.ArgumentParser(
        prog="python -m caffetools.detection.plots.precision_recall", description=__doc__
    )
    parser.add_argument("--curves", type=Path, required=True, help="curves.csv of an evaluation")
    parser.add_argument("--metrics", type=Path, required=True, help="its metrics.json")
    add_output(parser)
    options = parser.parse_args(arguments)
    display = PrecisionRecallDisplay.read(options.curves, options.metrics)
    with figure_file(options.output, 7.2 + 1.8 * ((len(display.curves) - 1) // 24), 4.8) as figure:
        display.plot(figure.subplots())


if __name__ == "__main__":
    run(main)
