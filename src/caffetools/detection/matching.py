"""Which detections of a class found which of its objects, as VOC's devkit decides it.

Shapes: ``B`` boxes of the class and ``D`` detections of it, over all images. Corners are those of
the manifest: both belong to the box, which is ``x2 - x1 + 1`` wide.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from pycocotools import mask


class Truth(NamedTuple):
    """The boxes of a class.

    Attributes:
        image: (B,) the number of the image that each lies in.
        corners: (B, 4) ``x1, y1, x2, y2``.
        difficult: (B,) whether neither a miss nor a find counts for it.
    """

    image: np.ndarray
    corners: np.ndarray
    difficult: np.ndarray

    @property
    def objects(self) -> int:
        """How many boxes are to be found: those that are not difficult."""
        return int(np.count_nonzero(~self.difficult))


class Found(NamedTuple):
    """The detections of a class: (D,) images' numbers, (D, 4) corners, (D,) scores."""

    image: np.ndarray
    corners: np.ndarray
    scores: np.ndarray


class Matches(NamedTuple):
    """What became of a class' detections; all arrays are (D,), by descending score.

    Attributes:
        order: each detection's place in :class:`Found`.
        scores: descending.
        right: whether it is the first to find an object.
        ignored: whether it lies on a difficult box, so that it is neither right nor false.
        box: the box of greatest overlap in its image, as a place in :class:`Truth`; -1 for none.
        overlap: the overlap with that box; 0 for none.
    """

    order: np.ndarray
    scores: np.ndarray
    right: np.ndarray
    ignored: np.ndarray
    box: np.ndarray
    overlap: np.ndarray

    @property
    def counted(self) -> np.ndarray:
        """(D,) whether each is right or false."""
        return ~self.ignored


def match(found: Found, truth: Truth, threshold: float) -> Matches:
    """Go through the detections of all images by descending score, as VOC's devkit does.

    Each is held against the one box of its image that it overlaps most (the first of equal ones),
    difficult or not. Where ``IoU >= threshold``, it is ignored if the box is difficult, right if it
    is the first there, and false if the box was found before, even if it overlaps another box
    enough. All others are false. Of equal scores the first in ``found`` goes first.

    ``IoU = |A and B| / |A or B|``, in pixels. See VOCevaldet.m of the VOC2012 development kit.
    """
    order = np.argsort(-found.scores, kind="stable")
    box, overlap = best_overlaps(
        found.image[order], found.corners[order], truth.image, truth.corners
    )
    hits = np.flatnonzero((box >= 0) & (overlap >= threshold))
    ignored = np.zeros(len(order), bool)
    ignored[hits] = truth.difficult[box[hits]]
    claims = hits[~ignored[hits]]
    right = np.zeros(len(order), bool)
    right[claims[np.unique(box[claims], return_index=True)[1]]] = True
    return Matches(order, found.scores[order], right, ignored, box, overlap)


def best_overlaps(
    image: np.ndarray, corners: np.ndarray, truth_image: np.ndarray, truth_corners: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """For each of N boxes that of B others in the same image which it overlaps most, and its IoU.

    Returns (N,) places among the others, -1 where the image has none, and (N,) IoUs, 0 there. Of
    equal overlaps the first other counts.
    """
    best = np.full(len(image), -1)
    overlap = np.zeros(len(image))
    others = dict(_by_image(truth_image))
    for number, rows in _by_image(image):
        near = others.get(number)
        if near is not None:
            table = mask.iou(_sizes(corners[rows]), _sizes(truth_corners[near]), [0] * len(near))
            column = np.argmax(table, axis=1)
            best[rows] = near[column]
            overlap[rows] = table[np.arange(len(rows)), column]
    return best, overlap


def _by_image(image: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Each image's number and the places where it stands, ascending."""
    order = np.argsort(image, kind="stable")
    numbers, starts = np.unique(image[order], return_index=True)
    yield from zip(numbers.tolist(), np.split(order, starts[1:]))


def _sizes(corners: np.ndarray) -> np.ndarray:
    """(N, 4) corners as x, y, width and height."""
    return np.hstack([corners[:, :2], corners[:, 2:] - corners[:, :2] + 1])
