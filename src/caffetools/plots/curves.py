"""Loss, learning rate and test error of one run, by iteration."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from caffetools.cli import run
from caffetools.history import History, read_history
from caffetools.plots.style import COLOURS, add_output, figure_file


def running_mean(values: np.ndarray, window: int) -> np.ndarray:
    """Mean of each value and up to ``window - 1`` before it, same length as ``values``."""
    sums = np.cumsum(np.concatenate([[0.0], values]))
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(ends - window, 0)
    return (sums[ends] - sums[starts]) / (ends - starts)


@dataclass(frozen=True)
class CurvesDisplay:
    """What the three panels show."""

    history: History
    window: int
    smoothed_loss: np.ndarray

    @classmethod
    def from_history(cls, history: History) -> CurvesDisplay:
        """Smooth the loss over a twentieth of the run: one batch's loss is noise."""
        steps = history.stepped()
        window = max(1, len(steps.loss) // 20)
        return cls(history, window, running_mean(steps.loss, window))

    def plot(self, axes: Sequence[Axes]) -> Sequence[Axes]:
        """Draw loss, test error and learning rate on three axes."""
        loss, error, rate = axes
        self.plot_loss(loss)
        self.plot_error(error)
        self.plot_learning_rate(rate)
        return axes

    def plot_loss(self, ax: Axes) -> Axes:
        """Draw the training loss, its running mean and the test loss."""
        steps, tests = self.history.stepped(), self.history.tested()
        ax.plot(steps.iteration, steps.loss, color=COLOURS[5], linewidth=0.8, label="batch")
        ax.plot(
            steps.iteration,
            self.smoothed_loss,
            color=COLOURS[0],
            label=f"batch, mean of {self.window}",
        )
        ax.plot(tests.iteration, tests.test_loss, "o--", color=COLOURS[1], ms=4, label="test net")
        ax.set(ylabel="loss", ylim=(0, None))
        ax.legend()
        return ax

    def plot_error(self, ax: Axes) -> Axes:
        """Draw the test error, 1 - accuracy."""
        tests = self.history.tested()
        ax.plot(tests.iteration, 1 - tests.test_accuracy, "o--", color=COLOURS[1], ms=4)
        ax.set(ylabel="test error", ylim=(0, 1))
        return ax

    def plot_learning_rate(self, ax: Axes) -> Axes:
        """Draw the solver's learning rate (before each layer's lr_mult)."""
        steps = self.history.stepped()
        # The rate of a row is that of the step that led to it: it holds to its left.
        ax.step(steps.iteration, steps.learning_rate, where="pre", color=COLOURS[2])
        ax.set(ylabel="learning rate", xlabel="iteration", ylim=(0, None))
        return ax


def main(arguments: Sequence[str]) -> None:
    """``python -m caffetools.plots.curves``"""
    parser = argparse.ArgumentParser(prog="python -m caffetools.plots.curves", description=__doc__)
    parser.add_argument("--history", type=Path, required=True, help="history.csv of a run")
    add_output(parser)
    options = parser.parse_args(arguments)
    display = CurvesDisplay.from_history(read_history(options.history))
    with figure_file(options.output, 6.4, 7.2) as figure:
        axes = figure.subplots(3, 1, sharex=True, height_ratios=[3, 3, 2])
        display.plot(list(axes))


if __name__ == "__main__":
    run(main)
