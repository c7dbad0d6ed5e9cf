"""The score from which on a detection counts, and how good a detector is there."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from caffetools.detection.matching import Matches


class OperatingPoint(NamedTuple):
    """All classes' detections of at least ``score`` together: R right, W false, N objects.

    ``precision = R / (R + W)``, ``recall = R / N``, ``f1 = 2 R / (R + W + N)``; 0 where nothing is
    divided by nothing.
    """

    score: float
    precision: float
    recall: float
    f1: float


def best(matches: Iterable[Matches], objects: int) -> OperatingPoint:
    """The point of the greatest F1; the highest score of equally good ones.

    Only scores that occur are tried, and all detections of one score count together. Without
    detections the score is 0.
    """
    scores, right = _together(matches)
    if not len(scores):
        return OperatingPoint(0.0, 0.0, 0.0, 0.0)
    ends = np.flatnonzero(np.append(np.diff(scores) != 0, True))
    f1 = 2 * np.cumsum(right)[ends] / (ends + 1 + objects)
    return _at(scores, right, objects, float(scores[ends[np.argmax(f1)]]))


def given(matches: Iterable[Matches], objects: int, score: float) -> OperatingPoint:
    """The point of a score that somebody chose."""
    return _at(*_together(matches), objects, score)


def _together(matches: Iterable[Matches]) -> tuple[np.ndarray, np.ndarray]:
    """Scores, descending, and whether each is right, of what is not ignored."""
    every = list(matches)
    scores = np.concatenate([one.scores[one.counted] for one in every])
    right = np.concatenate([one.right[one.counted] for one in every])
    order = np.argsort(-scores, kind="stable")
    return scores[order], right[order]


def _at(scores: np.ndarray, right: np.ndarray, objects: int, score: float) -> OperatingPoint:
    counted = int(np.count_nonzero(scores >= score))
    hits = int(np.count_nonzero(right[:counted]))
    return OperatingPoint(
        score,
        hits / counted if counted else 0.0,
        hits / objects if objects else 0.0,
        2 * hits / (counted + objects) if counted + objects else 0.0,
    )
