"""What the programs that classify with ``caffe.Classifier`` share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import numpy as np

_AT_ONCE = 32  # images, so that a large folder needs little memory


def predict(classifier: Any, images: Iterable[np.ndarray], oversample: bool) -> np.ndarray:
    """The scores ``(N, C)`` of images ``(H, W, channels)``, ``(0, 0)`` for none.

    ``oversample`` averages over ten crops of each; else the middle alone counts. Raises
    ValueError for images that are smaller than the crops.
    """
    parts = [
        np.asarray(classifier.predict(part, oversample)).reshape(len(part), -1)
        for part in _parts(iter(images))
    ]
    return np.concatenate(parts) if parts else np.zeros((0, 0), np.float32)


def _parts(images: Iterator[np.ndarray]) -> Iterator[list[np.ndarray]]:
    while True:
        part = list(islice(images, _AT_ONCE))
        if not part:
            return
        yield part


def best(scores: np.ndarray, count: int) -> np.ndarray:
    """The classes of the ``count`` highest of scores ``(C,)``; of equal ones the lowest first."""
    return np.argsort(-scores, kind="stable")[:count]
