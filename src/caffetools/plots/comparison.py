"""Test accuracy by iteration: each experiment's mean over seeds with its 95 % interval."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from caffetools.cli import ToolError, run
from caffetools.comparison import Arm, arm_of
from caffetools.history import History, read_history
from caffetools.plots.style import add_output, figure_file, line_style


def plot_arms(arms: Sequence[Arm], ax: Axes) -> Axes:
    """Draw the means as lines and the intervals (none with one seed) as bands."""
    for index, arm in enumerate(arms):
        look = line_style(index)
        ax.plot(arm.iterations, arm.mean, label=arm.name, linewidth=2, **look)
        if arm.seeds > 1:
            low, high = arm.mean - arm.half_width, arm.mean + arm.half_width
            ax.fill_between(arm.iterations, low, high, color=look["color"], alpha=0.2, linewidth=0)
    ax.set(xlabel="iteration", ylabel="test accuracy", ylim=(0, 1), yticks=np.arange(0, 1.1, 0.1))
    ax.legend(loc="lower right")
    return ax


def parse_run(text: str) -> tuple[str, int, Path]:
    """``EXPERIMENT:SEED:PATH`` as its three parts."""
    parts = text.split(":", 2)
    if len(parts) != 3 or not parts[1].isdecimal():
        raise ToolError(f"expected EXPERIMENT:SEED:PATH, found {text!r}; e.g. finetune:1:results/x")
    return parts[0], int(parts[1]), Path(parts[2])


def read_arms(runs: Sequence[str]) -> list[Arm]:
    """The arms of ``EXPERIMENT:SEED:history.csv`` entries, in the order first named."""
    histories: dict[str, list[History]] = {}
    for text in runs:
        experiment, _, path = parse_run(text)
        histories.setdefault(experiment, []).append(read_history(path))
    return [arm_of(name, group) for name, group in histories.items()]


def main(arguments: Sequence[str]) -> None:
    """``python -m caffetools.plots.comparison``"""
    parser = argparse.ArgumentParser(
        prog="python -m caffetools.plots.comparison", description=__doc__
    )
    parser.add_argument(
        "--run",
        nargs="+",
        action="extend",
        required=True,
        metavar="EXPERIMENT:SEED:HISTORY",
        help="the history.csv of one run; one entry for each run",
    )
    add_output(parser)
    options = parser.parse_args(arguments)
    arms = read_arms(options.run)
    with figure_file(options.output, 7.2, 4.8) as figure:
        plot_arms(arms, figure.subplots())


if __name__ == "__main__":
    run(main)
