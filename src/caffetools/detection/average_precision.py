"""Average precision: how well a class' detections are ordered, and how many objects they find.

With the detections by descending score, of which ``r_k`` of the first ``k`` are right, and ``n``
objects, precision and recall are ``p_k = r_k / k`` and ``c_k = r_k / n``. Ignored detections are
left out before. ``P(c) = max over k with c_k >= c of p_k``, or 0 where there is none, is the
curve's envelope: it does not rise.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Optional

import numpy as np

from caffetools.detection.matching import Matches

_ELEVENTHS = np.arange(11) / 10


class Curve(NamedTuple):
    """(K,) recall, precision and score after each detection that counts, by descending score."""

    recall: np.ndarray
    precision: np.ndarray
    scores: np.ndarray


def curve(matches: Matches, objects: int) -> Curve:
    """The precision-recall curve of a class with ``objects`` objects, at least one."""
    right = np.cumsum(matches.right[matches.counted])
    ranks = np.arange(1, len(right) + 1)
    return Curve(right / objects, right / ranks, matches.scores[matches.counted])


def envelope(precision: np.ndarray) -> np.ndarray:
    """(K,) the greatest precision at each place or behind it."""
    return np.maximum.accumulate(precision[::-1])[::-1]


def eleven_points(drawn: Curve) -> float:
    """VOC2007's measure: ``1/11 sum of P(c) for c = 0, 0.1, ..., 1``.

    The recalls are the numbers nearest to 0.1, 0.2, ..., so that a recall of 3 in 10 reaches 0.3.
    In steps of 0.1, as the devkit counts, it does not, by a rounding error.
    """
    reached = np.append(envelope(drawn.precision), 0.0)
    return float(np.mean(reached[np.searchsorted(drawn.recall, _ELEVENTHS)]))


def area(drawn: Curve) -> float:
    """VOC2010's and later: the area under P, ``sum over k of (c_k - c_(k-1)) P(c_k)``, c_0 = 0."""
    steps = np.diff(drawn.recall, prepend=0.0)
    return float(np.sum(steps * envelope(drawn.precision)))


METRICS = {"voc07": eleven_points, "area": area}


def mean(by_class: Mapping[str, Optional[float]]) -> Optional[float]:
    """The mean over the classes that have objects (those not None); None where none has."""
    values = [value for value in by_class.values() if value is not None]
    return float(np.mean(values)) if values else None
