"""Images beside the classes that a net thinks most likely, as bars of their probabilities.

The bar of the true class is hatched; where it is not among those shown, the title tells it.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import numpy as np
from matplotlib.axes import Axes

from caffetools.cli import run
from caffetools.metrics import log_softmax
from caffetools.plots.style import COLOURS, HATCHES, add_output, figure_file
from caffetools.visualization.images import add_arguments
from caffetools.visualization.nets import Answering, Subject

TOP = 5
_COLUMNS = 2
_LONGEST_NAME = 18  # letters that there is room for


@dataclass(frozen=True)
class Likely:
    """The likeliest classes of an image and their probabilities, both (K,), the first first."""

    classes: np.ndarray
    probabilities: np.ndarray


def likeliest(probabilities: np.ndarray, top: int = TOP) -> list[Likely]:
    """The ``top`` likeliest classes of each row of (N, C); among equals the lower class first."""
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :top]
    return [Likely(classes, row[classes]) for classes, row in zip(order, probabilities)]


def probabilities_of(net: Answering, inputs: np.ndarray) -> np.ndarray:
    """(N, C) probabilities of images (N, C, H, W): the output, or the softmax of scores."""
    net.forward(inputs)
    found = net.rows(net.output)
    return found if net.scores != net.output else np.exp(log_softmax(found))


def plot_image(picture: np.ndarray, title: str, ax: Axes) -> Axes:
    """Draw an image (h, w) or (h, w, 3), from 0 to 255."""
    ax.imshow(picture, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    ax.set_title(title, fontsize=9)
    ax.axis("off")
    return ax


def plot_bars(likely: Likely, names: Sequence[str], label: Optional[int], ax: Axes) -> Axes:
    """Draw a bar a class, the likeliest on top, with the true class hatched."""
    places = np.arange(len(likely.classes))
    bars = ax.barh(places, likely.probabilities, color=COLOURS[5], edgecolor="black", linewidth=0.8)
    for bar, found in zip(bars, likely.classes):
        if found == label:
            bar.set_hatch(HATCHES[1])
    for place, probability in enumerate(likely.probabilities):
        ax.text(1.04, place, f"{probability:.1%}", va="center", fontsize=8)
    ax.set_yticks(places)
    ax.set_yticklabels([_short(names[found]) for found in likely.classes], fontsize=8)
    ax.set(xlim=(0, 1), xticks=[0, 0.5, 1])
    ax.tick_params(axis="x", labelsize=7)
    ax.invert_yaxis()
    return ax


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"


def main(arguments: Sequence[str]) -> None:
    """``python -m caffetools.visualization.top5``"""
    parser = argparse.ArgumentParser(
        prog="python -m caffetools.visualization.top5", description=__doc__
    )
    add_arguments(parser, count=8)
    parser.add_argument("--classes", type=Path, help="classes.txt (default: show labels)")
    add_output(parser)
    options = parser.parse_args(arguments)
    subject = Subject(options)
    names = subject.class_names(options.classes)
    found = np.concatenate([probabilities_of(subject.net, each) for each in subject.inputs()])
    chosen = subject.chosen
    rows = -(-len(found) // _COLUMNS)
    with figure_file(options.output, 4.2 * _COLUMNS, 1.5 * rows) as figure:
        axes = figure.subplots(
            rows, 2 * _COLUMNS, squeeze=False, gridspec_kw={"width_ratios": [1, 1.6] * _COLUMNS}
        ).reshape(-1, 2)
        for (left, right), picture, label, likely in zip(
            axes, chosen.pictures, chosen.labels, likeliest(found)
        ):
            plot_image(picture, "" if label is None else f"true: {_short(names[label])}", left)
            plot_bars(likely, names, label, right)
        for left, right in axes[len(found) :]:
            left.axis("off")
            right.axis("off")


if __name__ == "__main__":
    run(main)
