"""Where in an image a class score comes from: by its gradient, and by occlusion.

The gradient tells how much the score would change with each pixel; occlusion how much of the score
is lost when a part of the image is covered.

Sources: Simonyan, Vedaldi and Zisserman, *Deep Inside Convolutional Networks: Visualising Image
Classification Models and Saliency Maps*, 2014; Zeiler and Fergus, *Visualizing and Understanding
Convolutional Networks*, 2014.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import numpy as np
from matplotlib.axes import Axes

from caffetools.cli import ToolError, run
from caffetools.plots.style import HEAT, add_output, figure_file
from caffetools.visualization.images import add_arguments
from caffetools.visualization.nets import Answering, Subject, up_to_scores
from caffetools.visualization.top5 import plot_image

_MOST_AT_ONCE = 64  # occluded images in a batch
_VALUES_AT_ONCE = 1 << 23  # or fewer, if they are large: 32 MiB
_MOST_POSITIONS = 1 << 14


# --- the gradient -----------------------------------------------------------------------


def gradient_saliency(net: Answering, image: np.ndarray, label: int) -> np.ndarray:
    """``max over channels of |d score[label] / d image|``, (H, W), for an image (C, H, W).

    ``net`` is of :func:`up_to_scores` with ``force_backward``, its output the scores.
    """
    net.forward(image[np.newaxis])
    seed = np.zeros_like(net.net.blobs[net.scores].data)
    seed.reshape(-1)[label] = 1
    net.net.backward(**{net.scores: seed})
    return np.array(np.abs(net.net.blobs[net.images].diff[0]).max(axis=0))


# --- occlusion --------------------------------------------------------------------------


@dataclass(frozen=True)
class Occlusion:
    """How the score falls for a patch at each place.

    Attributes:
        tops, lefts: (rows,) and (columns,) the patches' upper and left ends, in pixels.
        patch: the patches' side in pixels.
        drops: (rows, columns) the score of the whole image less that with the patch.
        shape: (H, W) of the image.
    """

    tops: np.ndarray
    lefts: np.ndarray
    patch: int
    drops: np.ndarray
    shape: tuple[int, int]

    def by_pixel(self) -> np.ndarray:
        """(H, W): for each pixel the mean drop over the patches that cover it."""
        total, count = np.zeros(self.shape), np.zeros(self.shape)
        for (row, column), drop in np.ndenumerate(self.drops):
            top, left = self.tops[row], self.lefts[column]
            covered = np.s_[top : top + self.patch, left : left + self.patch]
            total[covered] += drop
            count[covered] += 1
        return total / np.maximum(count, 1)


def occlusion(net: Answering, image: np.ndarray, label: int, patch: int, stride: int) -> Occlusion:
    """Cover an image (C, H, W) with a patch at places ``stride`` pixels apart.

    The patch has the image's mean value, channel by channel, as the net gets it. The last patch
    of a row or column ends where the image does. Raises :class:`ToolError` for a patch that does
    not fit, a stride that leaves gaps, or more places than 16,384.
    """
    height, width = image.shape[1:]
    if not 1 <= patch <= min(height, width) or not 1 <= stride <= patch:
        raise ToolError(
            f"occlusion: expected a patch of 1 to {min(height, width)} pixels, as the image has, "
            f"and a stride of 1 to the patch's, found a patch of {patch} and a stride of {stride}"
        )
    tops, lefts = _starts(height, patch, stride), _starts(width, patch, stride)
    if len(tops) * len(lefts) > _MOST_POSITIONS:
        raise ToolError(
            f"occlusion: {len(tops)} by {len(lefts)} places are more than {_MOST_POSITIONS}; give "
            f"a larger --stride than {stride}"
        )
    net.forward(image[np.newaxis])
    whole = float(net.rows(net.scores)[0, label])
    places = [(top, left) for top in tops for left in lefts]
    scores = np.concatenate(list(_occluded_scores(net, image, places, patch)))[:, label]
    drops = whole - scores.astype(np.float64)
    return Occlusion(tops, lefts, patch, drops.reshape(len(tops), len(lefts)), (height, width))


def _starts(length: int, patch: int, stride: int) -> np.ndarray:
    last = length - patch
    return np.unique(np.append(np.arange(0, last, stride), last))


def _occluded_scores(
    net: Answering, image: np.ndarray, places: Sequence[tuple[int, int]], patch: int
) -> Iterator[np.ndarray]:
    """(n, C) scores of the image covered at each of ``places``, a batch at a time."""
    at_once = max(1, min(_MOST_AT_ONCE, _VALUES_AT_ONCE // image.size))
    mean = image.mean(axis=(1, 2), keepdims=True)
    for start in range(0, len(places), at_once):
        some = places[start : start + at_once]
        batch = np.repeat(image[np.newaxis], len(some), axis=0)
        for covered, (top, left) in zip(batch, some):
            covered[:, top : top + patch, left : left + patch] = mean
        net.forward(batch)
        yield net.rows(net.scores)


# --- the figure -------------------------------------------------------------------------


@dataclass(frozen=True)
class SaliencyDisplay:
    """An image, its class and score, and both maps, (H, W)."""

    picture: np.ndarray
    title: str
    gradient: np.ndarray
    occluded: Occlusion

    def plot(self, axes: Sequence[Axes]) -> Sequence[Axes]:
        """Draw image, gradient and occlusion on three axes, bright where it counts."""
        left, middle, right = axes
        plot_image(self.picture, self.title, left)
        _plot_map(self.gradient, "gradient |∂score/∂pixel|", middle)
        patch = self.occluded.patch
        _plot_map(self.occluded.by_pixel(), f"score lost, patch {patch}x{patch}", right)
        return axes


def _plot_map(values: np.ndarray, title: str, ax: Axes) -> None:
    drawn = ax.imshow(values, cmap=HEAT, interpolation="nearest")
    ax.figure.colorbar(drawn, ax=ax, shrink=0.8).ax.tick_params(labelsize=7)
    ax.set_title(title, fontsize=9)
    ax.axis("off")


def _class_asked_for(label: Optional[int], true: Optional[int], scores: np.ndarray) -> int:
    """The class given, or else the true one, or else the one with the highest score."""
    if label is not None:
        if not 0 <= label < len(scores):
            raise ToolError(f"--label {label}: expected 0 to {len(scores) - 1}, as the net has")
        return label
    return true if true is not None else int(np.argmax(scores))


def main(arguments: Sequence[str]) -> None:
    """``python -m caffetools.visualization.saliency``"""
    parser = argparse.ArgumentParser(
        prog="python -m caffetools.visualization.saliency",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_arguments(parser, count=4)
    add = parser.add_argument
    add("--label", type=int, help="the class to ask for (default: the true one, else the net's)")
    add("--patch", type=int, help="the occluding patch's side (default: a fifth of the image's)")
    add("--stride", type=int, help="pixels between patches (default: half a patch)")
    add("--classes", type=Path, help="classes.txt (default: show labels)")
    add_output(parser)
    options = parser.parse_args(arguments)
    subject = Subject(options)
    names = subject.class_names(options.classes)
    net = up_to_scores(subject.net, subject.weights, force_backward=True)
    patch = options.patch if options.patch is not None else max(1, min(net.shape[1:]) // 5)
    stride = options.stride if options.stride is not None else max(1, patch // 2)
    displays = []
    for values, picture, true in zip(
        subject.all_inputs(), subject.chosen.pictures, subject.chosen.labels
    ):
        net.forward(values[np.newaxis])
        scores = net.rows(net.scores)[0]
        label = _class_asked_for(options.label, true, scores)
        displays.append(
            SaliencyDisplay(
                picture,
                f"score of {names[label]}: {scores[label]:.2f}",
                gradient_saliency(net, values, label),
                occlusion(net, values, label, patch, stride),
            )
        )
    with figure_file(options.output, 8.4, 2.5 * len(displays)) as figure:
        axes = figure.subplots(len(displays), 3, squeeze=False)
        for row, display in zip(axes, displays):
            display.plot(list(row))


if __name__ == "__main__":
    run(main)
