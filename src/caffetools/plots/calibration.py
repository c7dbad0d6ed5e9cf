"""Reliability diagram: is the net right as often as its probabilities say?"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import reduce
from operator import add
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from caffetools.calibration import Reliability, read_reliability
from caffetools.cli import ToolError, run
from caffetools.plots.style import COLOURS, add_output, figure_file


def plot_reliability(found: Reliability, ax: Axes) -> Axes:
    """Draw each bin's accuracy as a bar and its mean confidence as a line across it."""
    width = 1 / len(found.entries)
    middles = width * (np.arange(len(found.entries)) + 0.5)
    ax.bar(middles, found.accuracy, width, color=COLOURS[5], edgecolor="white", label="accuracy")
    ax.hlines(
        found.confidence, middles - width / 2, middles + width / 2,
        color="black", linewidth=2, label="mean confidence",
    )  # fmt: skip
    ax.set(xlim=(0, 1), ylim=(0, 1), ylabel="share of the bin")
    ax.set_title(f"expected calibration error {found.expected_error:.3f}")
    ax.legend(loc="upper left")
    return ax


def plot_entries(found: Reliability, ax: Axes) -> Axes:
    """Draw how many entries are in each bin."""
    width = 1 / len(found.entries)
    middles = width * (np.arange(len(found.entries)) + 0.5)
    ax.bar(middles, found.entries, width, color="#8a949f", edgecolor="white")
    ax.set(xlim=(0, 1), xlabel="confidence", ylabel="entries")
    return ax


def sum_of(paths: Sequence[Path]) -> Reliability:
    """All runs' bins added up; :class:`ToolError` where they have different numbers of bins."""
    found = [read_reliability(path) for path in paths]
    if len({len(one.entries) for one in found}) > 1:
        raise ToolError(
            f"{', '.join(map(str, paths))}: expected equally many bins in each; evaluate again"
        )
    return reduce(add, found)


def main(arguments: Sequence[str]) -> None:
    """``python -m caffetools.plots.calibration``"""
    parser = argparse.ArgumentParser(
        prog="python -m caffetools.plots.calibration", description=__doc__
    )
    parser.add_argument(
        "--calibration",
        type=Path,
        nargs="+",
        required=True,
        help="calibration.csv of one run, or of several to add up",
    )
    add_output(parser)
    options = parser.parse_args(arguments)
    found = sum_of(options.calibration)
    with figure_file(options.output, 5.4, 5.4) as figure:
        upper, lower = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [3, 1]})
        plot_reliability(found, upper)
        plot_entries(found, lower)


if __name__ == "__main__":
    run(main)
