"""Images in the plane, by the features that a net finds in them: a principal component analysis.

The axes are the two directions in which the features vary most; images that the net takes for
alike lie close together.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from caffetools import prototxt
from caffetools.cli import ToolError, run
from caffetools.files import write_csv
from caffetools.plots.style import add_output, figure_file, point_style
from caffetools.visualization.images import add_arguments
from caffetools.visualization.nets import Answering, Subject

_UNTOLD = -1
_MOST_NAMES = 42  # as many kinds of points as can be told apart


@dataclass(frozen=True)
class Embedding:
    """N points on K axes, (N, K), and the share of the features' variance along each, (K,)."""

    points: np.ndarray
    explained: np.ndarray


def principal_components(features: np.ndarray, axes: int = 2) -> Embedding:
    """The first principal components of ``features`` (N, D).

    With the singular values of the features less their mean, ``F - mean(F) = U diag(s) V'``, the
    points are ``U diag(s)`` and the shares ``s_k^2 / sum s^2`` (0 where nothing varies). A
    direction's sign, which is free, is such that its component largest in size is positive. Where
    there are fewer than ``axes`` directions, the points are 0 on the others.
    """
    centred = features.astype(np.float64) - features.mean(axis=0, dtype=np.float64)
    left, sizes, directions = np.linalg.svd(centred, full_matrices=False)
    largest = np.argmax(np.abs(directions), axis=1)
    signs = np.where(directions[np.arange(len(directions)), largest] < 0, -1.0, 1.0)
    points = np.zeros((len(features), axes))
    shares = np.zeros(axes)
    found = min(axes, len(sizes))
    points[:, :found] = (left * sizes * signs)[:, :found]
    total = np.sum(sizes**2)
    if total > 0:
        shares[:found] = sizes[:found] ** 2 / total
    return Embedding(points, shares)


def feature_blob(net: Answering) -> str:
    """The blob that the last layer with weights before the scores reads: the head's features.

    Raises :class:`ToolError` where no layer before the scores has weights.
    """
    layers = list(net.message.layer)
    end = max(place for place, layer in enumerate(layers) if net.scores in layer.top)
    for layer in [layers[end], *prototxt.upstream(layers, end)[::-1]]:
        if layer.name in net.net.params and layer.bottom:
            return str(layer.bottom[0])
    raise ToolError(f"no layer that leads to {net.scores!r} has weights; name the blob by --blob")


def features_of(subject: Subject, blob: str) -> np.ndarray:
    """(N, D) of a blob, a row an image, in batches of a few."""
    if blob not in subject.net.net.blobs:
        raise ToolError(
            f"--blob {blob}: the net has no such blob; it has {', '.join(subject.net.net.blobs)}"
        )
    rows = []
    for values in subject.inputs():
        subject.net.forward(values)
        found = subject.net.rows(blob)
        if len(found) != len(values):
            raise ToolError(
                f"blob {blob!r}: expected a row for each of {len(values)} images, found "
                f"{len(found)}; choose another blob"
            )
        rows.append(found)
    features = np.concatenate(rows)
    if not np.isfinite(features).all():
        raise ToolError(f"blob {blob!r} has values that are not finite; the training has diverged")
    return features


def plot_embedding(
    embedding: Embedding, labels: Sequence[int], names: Sequence[str], ax: Axes
) -> Axes:
    """Draw the points, each class by a colour and a marker, with their shares on the axes.

    ``names`` are those of the classes that labels count; a negative label is no class's.
    """
    held = np.array(labels)
    for index, label in enumerate(sorted(set(labels))):
        points = embedding.points[held == label]
        name = names[label] if label >= 0 else "no label"
        ax.scatter(
            points[:, 0],
            points[:, 1],
            s=16,
            linewidths=0,
            alpha=0.8,
            label=name,
            **point_style(index),
        )
    first, second = embedding.explained[:2]
    ax.set(
        xlabel=f"first principal component ({first:.0%} of the variance)",
        ylabel=f"second ({second:.0%})",
    )
    if 1 < len(set(labels)) <= _MOST_NAMES:
        ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=9, handletextpad=0.2)
    return ax


def write_table(
    path: Path, names: Sequence[str], labels: Sequence[int], embedding: Embedding
) -> None:
    """Write the points as CSV: ``image,label,first,second``."""
    points = ([format(value, ".9g") for value in point] for point in embedding.points)
    rows = ([name, label, *point] for name, label, point in zip(names, labels, points))
    write_csv(path, ["image", "label", "first", "second"], rows)


def main(arguments: Sequence[str]) -> None:
    """``python -m caffetools.visualization.embedding``"""
    parser = argparse.ArgumentParser(
        prog="python -m caffetools.visualization.embedding", description=__doc__
    )
    add_arguments(parser, count=300)
    parser.add_argument("--blob", help="the features (default: what the last layer reads)")
    parser.add_argument("--classes", type=Path, help="classes.txt (default: show labels)")
    parser.add_argument("--table", type=Path, help="CSV to write the points to as well")
    add_output(parser)
    options = parser.parse_args(arguments)
    subject = Subject(options)
    blob = options.blob or feature_blob(subject.net)
    embedding = principal_components(features_of(subject, blob))
    names = subject.class_names(options.classes)
    labels = [_UNTOLD if label is None else label for label in subject.chosen.labels]
    if options.table:
        write_table(options.table, subject.chosen.names, labels, embedding)
    with figure_file(options.output, 7.2, 5.2) as figure:
        ax = figure.subplots()
        plot_embedding(embedding, labels, names, ax)
        ax.set_title(f"{blob}, {len(labels)} images")


if __name__ == "__main__":
    run(main)
