"""What a detector's mistakes are: false detections by kind, and objects that it missed by size.

The kinds are those of Hoiem, Chodpathumwan and Dai, "Diagnosing Error in Object Detectors" (ECCV
2012). A false detection's kind is the first of these that holds:

- ``localisation``: it overlaps an object of its class by ``0.1 <= IoU``, but not by the threshold,
  or it is a second detection of one;
- ``similar``: it overlaps an object of a similar class by ``0.1 <= IoU``;
- ``other``: it overlaps one of another class so;
- ``background``: it overlaps nothing.

Where nobody says which classes are similar, all are, and no mistake is ``other``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Optional

import numpy as np

from caffetools.classes import read_names
from caffetools.cli import ToolError
from caffetools.detection.matching import Matches, Truth, best_overlaps
from caffetools.detection.scenes import Scenes

KINDS = ("localisation", "similar", "other", "background")
SIZES = ("small", "medium", "large")
Groups = Sequence[frozenset[str]]

_LEAST_OVERLAP = 0.1
# COCO's, in pixels; and the same as shares of an image of its usual 640 x 480.
_AREAS = (32**2, 96**2)
_SHARES = tuple(area / (640 * 480) for area in _AREAS)


class FalsePositives(NamedTuple):
    """The mistakes among a class' first detections, of which there are as many as its objects.

    Attributes:
        considered: how many detections were looked at; fewer than the objects where fewer are.
        right: how many of them are right.
        rows: (F,) the false ones' places in :class:`Matches`.
        kinds: (F,) the kind of each, as a place in :data:`KINDS`.
    """

    considered: int
    right: int
    rows: np.ndarray
    kinds: np.ndarray

    def counts(self) -> dict[str, int]:
        """How many are of each kind."""
        return dict(zip(KINDS, np.bincount(self.kinds, minlength=len(KINDS)).tolist()))


def false_positives(
    name: str, scenes: Scenes, matches: Matches, groups: Optional[Groups] = None
) -> FalsePositives:
    """The kinds of the false ones among the first N detections of a class with N objects.

    Ignored detections are passed over. ``groups`` holds classes that are similar to each other.
    """
    first = np.flatnonzero(matches.counted)[: scenes.truth[name].objects]
    rows = first[~matches.right[first]]
    similar = _similar(name, scenes.classes, groups)
    others = [one for one in scenes.classes if one != name and one not in similar]
    found, places = scenes.found[name], matches.order[rows]
    near = [matches.overlap[rows]] + [
        best_overlaps(found.image[places], found.corners[places], truth.image, truth.corners)[1]
        for truth in (_together(scenes.truth, similar), _together(scenes.truth, others))
    ]
    overlaps = np.vstack([*near, np.ones(len(rows))])
    kinds = np.argmax(overlaps >= _LEAST_OVERLAP, axis=0)
    return FalsePositives(len(first), len(first) - len(rows), rows, kinds)


def _similar(name: str, classes: Sequence[str], groups: Optional[Groups]) -> list[str]:
    if groups is None:
        return [one for one in classes if one != name]
    mine = [group for group in groups if name in group]
    return [one for one in classes if one != name and any(one in group for group in mine)]


def _together(truth: Mapping[str, Truth], names: Sequence[str]) -> Truth:
    if not names:
        return Truth(np.zeros(0, np.int64), np.zeros((0, 4)), np.zeros(0, bool))
    return Truth(*map(np.concatenate, zip(*(truth[name] for name in names))))


def read_groups(path: Path, classes: Sequence[str]) -> list[frozenset[str]]:
    """Groups of similar classes: a line each, the names between commas.

    Raises :class:`ToolError` with the line for a name that is no class.
    """
    groups = []
    for number, line in enumerate(read_names(path), 1):
        group = frozenset(name.strip() for name in line.split(",") if name.strip())
        unknown = sorted(group.difference(classes))
        if unknown:
            raise ToolError(
                f"{path}:{number}: expected names of classes between commas, found "
                f"{unknown[0]!r}; write them as the list of classes does"
            )
        groups.append(group)
    return groups


def missed(truth: Truth, matches: Matches, score: float) -> np.ndarray:
    """(B,) whether each box is an object that no detection found with at least ``score``."""
    found = np.zeros(len(truth.image), bool)
    found[matches.box[matches.right & (matches.scores >= score)]] = True
    return ~found & ~truth.difficult


def sizes(corners: np.ndarray) -> np.ndarray:
    """(B,) places in :data:`SIZES`: COCO's, small below 32^2 pixels, large from 96^2."""
    return np.digitize(_areas(corners), _AREAS)


def relative_sizes(corners: np.ndarray, images: np.ndarray) -> np.ndarray:
    """(B,) the same by the share of the image's area, for images that are not of COCO's size.

    Small is below 1/300, large from 3/100: what COCO's bounds are of 640 x 480 pixels. ``images``
    is (B, 2), each box's image's width and height.
    """
    return np.digitize(_areas(corners) / np.prod(images, axis=1), _SHARES)


def _areas(corners: np.ndarray) -> np.ndarray:
    return np.prod(corners[:, 2:] - corners[:, :2] + 1, axis=1)
