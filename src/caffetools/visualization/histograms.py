"""Histograms of fully connected layers before and after training: weights, and activations.

Activations are what the layers make of chosen images, with the weights before and after. Layers
that the weights before do not have, such as a new head, have an after alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

import numpy as np
from matplotlib.axes import Axes

from caffetools import prototxt
from caffetools.cli import ToolError, run
from caffetools.plots.style import COLOURS, add_output, figure_file
from caffetools.visualization.images import add_arguments
from caffetools.visualization.nets import Answering, Subject, answering
from caffetools.weights import (
    array,
    is_convolution,
    is_inner_product,
    layers_with_blobs,
    read_message,
    read_weights,
    same_shape,
)

_BINS = 60


@dataclass(frozen=True)
class Histogram:
    """Counts of values before (None where there are none) and after in the same bins.

    ``edges`` are (bins + 1,), the counts (bins,), as shares of their values.
    """

    edges: np.ndarray
    before: Optional[np.ndarray]
    after: np.ndarray

    @classmethod
    def of(cls, before: Optional[np.ndarray], after: np.ndarray, bins: int = _BINS) -> Histogram:
        """Count in ``bins`` bins of one width from the least value of both to the greatest.

        Values that are all the same, ``v``, lie in the middle of bins from ``v - 0.5`` to
        ``v + 0.5``. Raises :class:`ToolError` where a value is not finite.
        """
        values = np.concatenate([each.ravel() for each in (before, after) if each is not None])
        if not np.isfinite(values).all():
            raise ToolError(
                "expected finite values, found NaN or infinity: the training has diverged, and "
                "there is nothing to count; lower base_lr"
            )
        edges = np.histogram_bin_edges(values.astype(np.float64), bins)
        return cls(edges, None if before is None else _shares(before, edges), _shares(after, edges))

    def plot(self, title: str, ax: Axes) -> Axes:
        """Draw before as a dashed line and after as a filled one."""
        # The outline of bars, begun and ended on the axis.
        along = np.repeat(self.edges, 2)
        ax.fill_between(along, _outline(self.after), color=COLOURS[5], alpha=0.45, linewidth=0)
        ax.plot(along, _outline(self.after), color=COLOURS[0], linewidth=1.2, label="after")
        if self.before is not None:
            ax.plot(
                along, _outline(self.before), color=COLOURS[1], linewidth=1.2,
                linestyle="--", label="before",
            )  # fmt: skip
        ax.set_title(title, fontsize=9)
        ax.set(ylim=(0, None))
        ax.tick_params(labelsize=7)
        ax.legend(fontsize=8)
        return ax


def _shares(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    return np.histogram(values.astype(np.float64), edges)[0] / values.size


def _outline(shares: np.ndarray) -> np.ndarray:
    return np.concatenate([[0.0], np.repeat(shares, 2), [0.0]])


# --- weights ----------------------------------------------------------------------------


def fully_connected(path: Path) -> dict[str, np.ndarray]:
    """The weights, without biases, of each InnerProduct layer of a caffemodel, by its name.

    Where there is none, those of the last Convolution, which classifies in its place. Raises
    :class:`ToolError` where there is none of either.
    """
    layers = layers_with_blobs(read_message(path), str(path))
    found = [layer for layer in layers if is_inner_product(layer)]
    found = found or [layer for layer in layers if is_convolution(layer)][-1:]
    if not found:
        raise ToolError(
            f"{path}: expected layers of type InnerProduct or Convolution, found none to count"
        )
    return {layer.name: array(layer.blobs[0]) for layer in found}


def weight_histograms(before: Optional[Path], after: Path) -> dict[str, Histogram]:
    """A histogram for each of the :func:`fully_connected` layers of ``after``, by its name.

    A layer whose shape is another one in ``before`` counts as a new one.
    """
    found = fully_connected(after)
    blobs = read_weights(before) if before else {}
    start = {name: blobs[name][0] for name in found if name in blobs}
    return {
        name: Histogram.of(
            start[name] if name in start and same_shape(start[name].shape, weights.shape) else None,
            weights,
        )
        for name, weights in found.items()
    }


# --- activations ------------------------------------------------------------------------


def known_part(message: Any, known: Sequence[str]) -> Any:
    """A copy of a net without the layers that need weights which are not among ``known``.

    Layers that depend on those are left out as well.
    """
    part = prototxt.copy_net(message)
    part.ClearField("layer")
    unknown: set[str] = set()
    for layer in message.layer:
        is_new = prototxt.learnable_blobs(layer) and layer.name not in known
        if is_new or unknown.intersection(layer.bottom):
            unknown.update(layer.top)
        else:
            part.layer.add().CopyFrom(layer)
    return part


def activations_of(subject: Subject, net: Answering, blobs: Sequence[str]) -> dict[str, np.ndarray]:
    """The values of each blob for all images, (N, values)."""
    found: dict[str, list[np.ndarray]] = {name: [] for name in blobs}
    for values in subject.inputs():
        net.forward(values)
        for name in blobs:
            found[name].append(net.rows(name))
    return {name: np.concatenate(rows) for name, rows in found.items()}


def activation_histograms(
    subject: Subject, layers: Sequence[str], before: Optional[Path]
) -> dict[str, Histogram]:
    """A histogram of the top of each of ``layers`` that the net has, by the layer's name.

    A top that later layers work on in place holds what they made of it.
    """
    tops = {layer.name: layer.top[0] for layer in subject.net.message.layer if layer.name in layers}
    after = activations_of(subject, subject.net, list(tops.values()))
    start = _activations_before(subject, list(tops.values()), before) if before else {}
    return {name: Histogram.of(start.get(top), after[top]) for name, top in tops.items()}


def _activations_before(
    subject: Subject, blobs: Sequence[str], before: Path
) -> dict[str, np.ndarray]:
    """The values of those blobs that the weights before suffice for."""
    weights, trained = read_weights(before), read_weights(subject.weights)
    part = known_part(
        subject.net.message,
        [name for name in weights if _are_alike(weights[name], trained.get(name, []))],
    )
    held = {top for layer in part.layer for top in layer.top}
    wanted = [name for name in blobs if name in held]
    if not wanted:
        return {}
    # Without its head the net ends in whatever the head read.
    return activations_of(subject, answering(part, before, output=wanted[-1]), wanted)


def _are_alike(some: Sequence[np.ndarray], others: Sequence[np.ndarray]) -> bool:
    return len(some) == len(others) and all(
        same_shape(one.shape, other.shape) for one, other in zip(some, others)
    )


# --- command ----------------------------------------------------------------------------


def main(arguments: Sequence[str]) -> None:
    """``python -m caffetools.visualization.histograms``"""
    parser = argparse.ArgumentParser(
        prog="python -m caffetools.visualization.histograms", description=__doc__
    )
    add_arguments(parser, count=32)
    parser.add_argument("--before", type=Path, help="caffemodel that training started from")
    add_output(parser)
    options = parser.parse_args(arguments)
    weights = weight_histograms(options.before, options.weights)
    activations = activation_histograms(Subject(options), list(weights), options.before)
    with figure_file(options.output, 8.4, 2.4 * len(weights)) as figure:
        axes = figure.subplots(len(weights), 2, squeeze=False)
        for (left, right), (name, histogram) in zip(axes, weights.items()):
            histogram.plot(f"{name}: weights", left)
            left.set_ylabel("share", fontsize=9)
            if name in activations:
                activations[name].plot(f"{name}: activations", right)
            else:
                right.axis("off")


if __name__ == "__main__":
    run(main)
