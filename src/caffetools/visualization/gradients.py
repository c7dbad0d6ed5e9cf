"""Each layer's gradient, and its update relative to its weights, by iteration.

The upper panel is ``|g|``, the root of the sum of squares over a layer's weights; the lower one
``|u| / |w|``, what the solver subtracted over the weights. Values of the latter near 0.001 are
usual; far below it a layer hardly learns, far above it forgets.
"""

from __future__ import annotations

import argparse
import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from matplotlib.axes import Axes

from caffetools.cli import ToolError, run
from caffetools.magnitudes import Magnitude, read_magnitudes
from caffetools.plots.style import COLOURS, add_output, figure_file
from caffetools.plots.training import plot_magnitudes
from caffetools.spread import spread

_MOST_LINES = 12  # as many as colours and dashes tell apart
_MOST_NAMED = 4
_USUAL = 0.001

Lines = Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class GradientsDisplay:
    """What the two panels show: a line for each layer that learns, and what was left out.

    Attributes:
        iterations: what both are drawn over.
        gradients, relative_updates: a value an iteration for each layer.
        learning: how many layers learn, of which some may have no line.
        frozen: the layers whose gradients and updates were always 0.
    """

    iterations: list[int]
    gradients: Lines
    relative_updates: Lines
    learning: int
    frozen: list[str]

    @classmethod
    def from_rows(
        cls, rows: Sequence[Magnitude], patterns: Optional[Sequence[str]] = None
    ) -> GradientsDisplay:
        """Lines for the layers that one of the patterns is for, or evenly spaced ones.

        There are twelve lines at most. Where a layer's weights are all 0 its relative update
        is 0. Raises :class:`ToolError` where no row is left.
        """
        layers = list(dict.fromkeys(row.layer for row in rows))
        if patterns is not None:
            layers = [
                name for name in layers if any(fnmatch.fnmatchcase(name, p) for p in patterns)
            ]
        if not layers:
            wanted = f"layers like {', '.join(patterns)}" if patterns else "rows"
            raise ToolError(f"the table has no {wanted}, so there is nothing to draw")
        by_layer = {name: [row for row in rows if row.layer == name] for name in layers}
        iterations = [row.iteration for row in by_layer[layers[0]]]
        if any([row.iteration for row in own] != iterations for own in by_layer.values()):
            raise ToolError(
                "expected every layer at the same iterations, found others; train again"
            )
        frozen = [n for n in layers if not any(row.gradient or row.update for row in by_layer[n])]
        learning = [name for name in layers if name not in frozen]
        shown = spread(learning, _MOST_LINES)
        return cls(
            iterations,
            {name: [row.gradient for row in by_layer[name]] for name in shown},
            {name: [_relative(row) for row in by_layer[name]] for name in shown},
            len(learning),
            frozen,
        )

    @property
    def title(self) -> str:
        """What is not drawn."""
        shown = len(self.gradients)
        parts = [f"{shown} of {self.learning} layers"] if shown < self.learning else []
        if self.frozen:
            few = len(self.frozen) <= _MOST_NAMED
            named = ", ".join(self.frozen) if few else f"{len(self.frozen)} layers"
            parts.append(f"not learning: {named}")
        return "; ".join(parts)

    def plot(self, axes: Sequence[Axes]) -> Sequence[Axes]:
        """Draw gradients on the first of two axes, relative updates on the second."""
        upper, lower = axes
        plot_magnitudes(self.iterations, self.gradients, upper, "gradient |g|")
        plot_magnitudes(self.iterations, self.relative_updates, lower, "update |u| / |w|")
        if self.gradients:
            lower.axhline(_USUAL, color=COLOURS[5], linewidth=4, alpha=0.4, zorder=0)
        upper.set(xlabel="", title=self.title)
        return axes


def _relative(row: Magnitude) -> float:
    return row.update / row.weights if row.weights else 0.0


def main(arguments: Sequence[str]) -> None:
    """``python -m caffetools.visualization.gradients``"""
    parser = argparse.ArgumentParser(
        prog="python -m caffetools.visualization.gradients", description=__doc__
    )
    parser.add_argument("--gradients", type=Path, required=True, help="gradients.csv of a run")
    parser.add_argument(
        "--layer", nargs="+", metavar="PATTERN", help="layers to draw, as 'conv*' (default: all)"
    )
    add_output(parser)
    options = parser.parse_args(arguments)
    display = GradientsDisplay.from_rows(read_magnitudes(options.gradients), options.layer)
    with figure_file(options.output, 6.4, 6.4) as figure:
        display.plot(list(figure.subplots(2, 1, sharex=True)))


if __name__ == "__main__":
    run(main)
