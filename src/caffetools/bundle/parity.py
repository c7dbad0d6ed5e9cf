"""The gate: the same images through every reader must give the same answer.

The reference is the TEST net over the LMDB. Held against it are ``caffe.Classifier`` on the
original image files, OpenCV's importer and onnxruntime, all from the bundle's files alone.

``TOLERANCE`` is absolute, on probabilities. Readers sum in different orders: a scalar product of n
float32 terms is then about ``sqrt(n) 2^-24`` of its size apart, 6e-6 for the 9216 inputs of
CaffeNet's fc6. Through ten layers and for class scores around 10 that makes 2e-4 in a score and,
as a probability changes by at most a quarter of what its score does, 5e-5 in a probability.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Union

import numpy as np

from caffetools.classifying import best
from caffetools.cli import ToolError

TOLERANCE = 1e-4

# What a reader gave, or why it was not asked.
Answer = Union[np.ndarray, str]


def judge(
    reference: np.ndarray,
    answers: Mapping[str, Answer],
    images: Sequence[str],
    labels: Sequence[str],
) -> dict[str, Any]:
    """What ``parity.json`` says of the readers.

    Args:
        reference: ``(N, C)`` probabilities.
        answers: by reader the same, or the reason why there are none.
        images: the names of the N images.
        labels: the names of the C classes.

    Raises:
        ToolError: a probability is further apart than ``TOLERANCE``, or not a number, or an
            image's best class is another one though its probabilities are further apart.
    """
    compared = {
        name: {"not_checked": answer}
        if isinstance(answer, str)
        else _compare(name, reference, answer, answers, images, labels)
        for name, answer in answers.items()
    }
    spread = float(np.abs(reference - reference[:1]).max())
    return {
        "images": len(images),
        "reference": "the TEST net over the LMDB",
        "tolerance": TOLERANCE,
        "largest_difference_between_images": _rounded(spread),
        "readers": compared,
    }


def _compare(
    name: str,
    reference: np.ndarray,
    found: np.ndarray,
    answers: Mapping[str, Answer],
    images: Sequence[str],
    labels: Sequence[str],
) -> dict[str, Any]:
    if found.shape != reference.shape:
        raise ToolError(
            f"parity: the TEST net gives (images, classes) {reference.shape}, {name} "
            f"{found.shape}; is deploy.prototxt that of another net?"
        )
    apart = np.abs(found - reference).max(axis=1)
    # What is no number is as far apart as can be.
    apart = np.where(np.isnan(apart), np.inf, apart)
    worst = int(apart.argmax())
    rows = np.arange(len(reference))
    ours, theirs = reference.argmax(axis=1), found.argmax(axis=1)
    is_tie = reference[rows, ours] - reference[rows, theirs] <= TOLERANCE
    turned = np.flatnonzero((ours != theirs) & ~is_tie)
    if apart[worst] > TOLERANCE or len(turned):
        place = worst if apart[worst] > TOLERANCE else int(turned[0])
        raise ToolError(
            _complaint(name, place, float(apart[place]), reference, answers, images, labels)
        )
    return {
        "image": images[worst],
        "largest_difference": _rounded(float(apart[worst])),
        "same_best_class": int((ours == theirs).sum()),
    }


def _complaint(
    name: str,
    place: int,
    apart: float,
    reference: np.ndarray,
    answers: Mapping[str, Answer],
    images: Sequence[str],
    labels: Sequence[str],
) -> str:
    def said(reader: str, answer: Answer) -> str:
        if isinstance(answer, str):
            return f"{reader} was not asked ({answer})"
        if answer.shape != reference.shape:
            return f"{reader} gives the shape {answer.shape}"
        (first,) = best(answer[place], 1)
        return f"{reader} says {labels[first]!r} with {answer[place][first]:.6f}"

    told = "; ".join(
        said(reader, answer) for reader, answer in {"the TEST net": reference, **answers}.items()
    )
    return (
        f"parity: image {images[place]!r}: {name} is {apart:.3g} from the TEST net, more than "
        f"{TOLERANCE:g}: {told}. No bundle is written. Are the deploy net, weights, mean and scale "
        "those of the trained net? Where all but one reader agree, that one computes this net in "
        "another way"
    )


def _rounded(value: float) -> float:
    return float(f"{value:.3g}")
