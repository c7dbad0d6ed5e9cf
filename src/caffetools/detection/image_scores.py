"""How well each image was detected in, so that the best and the worst can be shown.

With R right and W false detections of at least a score, and M missed objects, over all classes:

- ``f1 = 2 R / (2 R + W + M)``, and 1 where all three are 0;
- ``margin = (sum of right ones' scores - sum of false ones' scores) / (R + W + M)``, or 0 so. It
  orders images of one F1: the surer the right and the less sure the false ones, the better.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from caffetools.detection.matching import Matches
from caffetools.detection.mistakes import missed
from caffetools.detection.scenes import Scenes


class ImageScores(NamedTuple):
    """(I,) each, in the order of the images: counts, F1 and margin."""

    right: np.ndarray
    wrong: np.ndarray
    missed: np.ndarray
    f1: np.ndarray
    margin: np.ndarray

    def order(self) -> np.ndarray:
        """(I,) the images' numbers from the best to the worst; equal ones as in the manifest."""
        return np.lexsort((-self.margin, -self.f1))


def image_scores(scenes: Scenes, matches: Mapping[str, Matches], score: float) -> ImageScores:
    """Count, by image, what detections of at least ``score`` are worth."""
    count = len(scenes.pictures)
    right, wrong, lost, margin = (np.zeros(count) for _ in range(4))
    for name, one in matches.items():
        image = scenes.found[name].image[one.order]
        counted = one.counted & (one.scores >= score)
        good, bad = counted & one.right, counted & ~one.right
        right += np.bincount(image[good], minlength=count)
        wrong += np.bincount(image[bad], minlength=count)
        margin += np.bincount(image[good], one.scores[good], count)
        margin -= np.bincount(image[bad], one.scores[bad], count)
        truth = scenes.truth[name]
        lost += np.bincount(truth.image[missed(truth, one, score)], minlength=count)
    every = right + wrong + lost
    f1 = np.divide(2 * right, right + every, out=np.ones(count), where=every > 0)
    margin = np.divide(margin, every, out=np.zeros(count), where=every > 0)
    return ImageScores(right.astype(int), wrong.astype(int), lost.astype(int), f1, margin)
