"""Figures of merit of a classifier, from its scores and the true labels.

Shapes: ``N`` entries, ``C`` classes. Labels are whole numbers from 0 to ``C - 1``, in
whatever type the net's label blob has.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

import numpy as np

from caffetools.cli import ToolError
from caffetools.history import History


def count_errors(scores: np.ndarray, labels: np.ndarray) -> int:
    """The number of entries whose highest score is not their label's.

    ``scores`` is (N, C), ``labels`` (N,). Among equal scores the lowest class counts as
    predicted, so a net that gives every class the same score is right only on class 0.
    """
    return int(np.count_nonzero(np.argmax(scores, axis=1) != labels))


def accuracy(scores: np.ndarray, labels: np.ndarray) -> float:
    """``1 - errors / N``, from 0 to 1."""
    return 1.0 - count_errors(scores, labels) / len(labels)


def top_k_accuracy(scores: np.ndarray, labels: np.ndarray, k: int) -> float:
    """The share of entries for which fewer than ``k`` other classes score as high as the label's.

    That is Caffe's Accuracy layer with ``top_k``: a tie counts against an entry, whereas
    :func:`accuracy` gives it to the lowest class.
    """
    return float(np.mean(in_top_k(scores, labels, k)))


def in_top_k(scores: np.ndarray, labels: np.ndarray, k: int) -> np.ndarray:
    """(N,) whether each entry is right by :func:`top_k_accuracy`."""
    own = scores[np.arange(len(labels)), labels.astype(np.int64)]
    return np.count_nonzero(scores >= own[:, np.newaxis], axis=1) <= k


def log_softmax(scores: np.ndarray) -> np.ndarray:
    """``s - log(sum_c exp(s_c))`` along the classes, (N, C), in double precision."""
    shifted = scores.astype(np.float64) - np.max(scores, axis=1, keepdims=True)
    return shifted - np.log(np.sum(np.exp(shifted), axis=1, keepdims=True))


def mean_loss(log_probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Multinomial logistic loss ``-1/N sum_n log p[n, label_n]``, in nats."""
    return float(np.mean(losses(log_probabilities, labels)))


def losses(log_probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(N,) the loss ``-log p[n, label_n]`` of each entry, in nats."""
    return -log_probabilities[np.arange(len(labels)), labels.astype(np.int64)]


def confusion_matrix(labels: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """(C, C) counts: row = true class, column = predicted class.

    Raises :class:`ToolError` for a label that the net has no score for.
    """
    labels = labels.astype(np.int64)
    outside = (labels < 0) | (labels >= classes)
    if np.any(outside):
        index = int(np.argmax(outside))
        raise ToolError(
            f"entry {index} has label {labels[index]}, expected 0 to {classes - 1}: the net has "
            f"{classes} outputs; give its last layer as many as the data set has classes"
        )
    cells = labels * classes + predicted.astype(np.int64)
    return np.bincount(cells, minlength=classes * classes).reshape(classes, classes)


@dataclass(frozen=True)
class ClassFigures:
    """Figures of each class, all (C,), made by :func:`class_figures`."""

    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray
    support: np.ndarray

    @property
    def macro_f1(self) -> float:
        """``1/C sum_c F1_c``: every class weighs the same, however many entries it has."""
        return float(np.mean(self.f1))


def class_figures(confusion: np.ndarray) -> ClassFigures:
    """Precision, recall, F1 and support of each class, from a (C, C) confusion matrix.

    With ``TP`` on the diagonal, ``precision = TP / column sum``, ``recall = TP / row sum``,
    ``F1 = 2 TP / (row sum + column sum)``, ``support = row sum``. A figure whose divisor is
    0 (a class never predicted, or without entries) is 0.
    """
    hits = np.diagonal(confusion).astype(np.float64)
    support = confusion.sum(axis=1)
    predicted = confusion.sum(axis=0)
    return ClassFigures(
        precision=_ratio(hits, predicted),
        recall=_ratio(hits, support),
        f1=_f1(hits, support, predicted),
        support=support,
    )


def macro_f1(labels: np.ndarray, predicted: np.ndarray, classes: int) -> float:
    """:attr:`ClassFigures.macro_f1` of N entries, without the (C, C) confusion matrix."""
    of_hits, of_labels, of_predicted = (
        np.bincount(values, minlength=classes)
        for values in (labels[labels == predicted], labels, predicted)
    )
    return float(np.mean(_f1(of_hits, of_labels, of_predicted)))


def _f1(hits: np.ndarray, support: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    return _ratio(2.0 * hits, support + predicted)


def _ratio(dividend: np.ndarray, divisor: np.ndarray) -> np.ndarray:
    return np.divide(dividend, divisor, out=np.zeros(len(dividend)), where=divisor > 0)


def iterations_to_reach(history: History, accuracy: float) -> Optional[int]:
    """The first tested iteration whose test accuracy is at least ``accuracy``; None if none.

    The answer is no finer than the solver's ``test_interval``, and a later fall below
    ``accuracy`` does not count against it.
    """
    tested = history.tested()
    reached = tested.iteration[tested.test_accuracy >= accuracy]
    return int(reached[0]) if len(reached) else None
