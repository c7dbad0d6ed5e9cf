"""Each loss of one run by itself, by iteration."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from caffetools.cli import run
from caffetools.loss_parts import read_losses
from caffetools.plots.curves import running_mean
from caffetools.plots.style import add_output, figure_file, line_style, plain


@dataclass(frozen=True)
class LossesDisplay:
    """The losses ``(iterations, losses)``, each the mean of the ``window`` last ones."""

    names: Sequence[str]
    iteration: np.ndarray
    smoothed: np.ndarray
    window: int

    @classmethod
    def read(cls, path: Path) -> LossesDisplay:
        """Smooth over a twentieth of the run: one batch's loss is noise."""
        names, rows = read_losses(path)
        values = np.array([row.values for row in rows]).reshape(-1, len(names))
        window = max(1, len(rows) // 20)
        smoothed = np.stack([running_mean(column, window) for column in values.T], 1)
        return cls(names, np.array([row.iteration for row in rows], np.int64), smoothed, window)

    def plot(self, ax: Axes) -> Axes:
        """Draw a line a loss."""
        for index, name in enumerate(self.names):
            ax.plot(self.iteration, self.smoothed[:, index], label=plain(name), **line_style(index))
        ax.set(xlabel="iteration", ylabel=f"loss, mean of {self.window}", ylim=(0, None))
        ax.legend()
        return ax


def main(arguments: Sequence[str]) -> None:
    """``python -m caffetools.plots.losses``"""
    parser = argparse.ArgumentParser(prog="python -m caffetools.plots.losses", description=__doc__)
    parser.add_argument("--losses", type=Path, required=True, help="losses.csv of a training")
    add_output(parser)
    options = parser.parse_args(arguments)
    with figure_file(options.output, 6.4, 4.0) as figure:
        LossesDisplay.read(options.losses).plot(figure.subplots())


if __name__ == "__main__":
    run(main)
