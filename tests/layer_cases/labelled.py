"""Softmax, SoftmaxWithLoss, Accuracy: what works on scores and labels."""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from layer_cases.case import Case, labels, normal, places


def softmax(bottoms, params, *, axis):
    rows = np.moveaxis(bottoms[0].astype(float), axis, -1)
    top = np.zeros(rows.shape)
    for place in places(rows.shape[:-1]):
        weights = [math.exp(value - max(rows[place])) for value in rows[place]]
        top[place] = [weight / sum(weights) for weight in weights]
    return [np.moveaxis(top, -1, axis)]


def _items(scores, label, axis):
    """Each item's scores and label."""
    rows = np.moveaxis(scores.astype(float), axis, -1)
    given = label.reshape(rows.shape[:-1])
    return [(rows[place], int(given[place])) for place in places(given.shape)]


def softmax_loss(bottoms, params, *, divisor, axis=1, ignore=None, prob=False):
    total = 0.0
    for scores, label in _items(*bottoms, axis):
        if label != ignore:
            weights = [math.exp(score - max(scores)) for score in scores]
            probability = weights[label] / sum(weights)
            total -= math.log(max(probability, float(np.finfo(np.float32).tiny)))
    loss = np.array(total / divisor)
    return [loss, *softmax(bottoms, params, axis=axis)] if prob else [loss]


def accuracy(bottoms, params, *, axis=1, top_k=1, ignore=None, by_class=False):
    classes = bottoms[0].shape[axis]
    right, seen = [0] * classes, [0] * classes
    for scores, label in _items(*bottoms, axis):
        if label != ignore:
            rivals = sum(scores[c] >= scores[label] for c in range(classes) if c != label)
            right[label] += int(rivals < top_k)
            seen[label] += 1
    share = np.array(sum(right) / max(1, sum(seen)))
    by = np.array([r / max(1, s) for r, s in zip(right, seen, strict=True)])
    return [share, by] if by_class else [share]


def _loss(name: str, bottoms, settings: str, **more) -> Case:
    reference = {key: more.pop(key) for key in ("divisor", "axis", "ignore", "prob") if key in more}
    return Case(f"softmax loss {name}", f'type: "SoftmaxWithLoss" {settings}', bottoms,
                partial(softmax_loss, **reference), labels=1, **more)  # fmt: skip


_ITEMS = (normal(4, 3), labels(0, 2, 1, 2))
_SPATIAL = (normal(2, 3, 2, 2), labels(0, 2, 1, 2, 1, 1, 0, 2).reshape(2, 2, 2))
_IGNORED = (normal(2, 3, 2, 2), labels(0, 9, 1, 9, 1, 9, 0, 2).reshape(2, 1, 2, 2))

LOSSES = [
    _loss("plain", _ITEMS, "", divisor=4),
    _loss("spatial", _SPATIAL, "", divisor=8),
    _loss("valid", _IGNORED, "loss_param { ignore_label: 9 }", divisor=5, ignore=9),
    _loss("full", _IGNORED, "loss_param { ignore_label: 9 normalization: FULL }", divisor=8,
          ignore=9),
    _loss("batch size", _IGNORED, "loss_param { ignore_label: 9 normalization: BATCH_SIZE }",
          divisor=2, ignore=9),
    _loss("none", _IGNORED, "loss_param { ignore_label: 9 normalization: NONE }", divisor=1,
          ignore=9),
    _loss("normalize", _IGNORED, "loss_param { ignore_label: 9 normalize: true }", divisor=5,
          ignore=9),
    _loss("do not normalize", _IGNORED, "loss_param { ignore_label: 9 normalize: false }",
          divisor=2, ignore=9),
    _loss("normalization wins", _IGNORED,
          "loss_param { ignore_label: 9 normalize: false normalization: FULL }", divisor=8,
          ignore=9),
    _loss("all ignored", (normal(2, 3), labels(9, 9)), "loss_param { ignore_label: 9 }",
          divisor=1, ignore=9),
    _loss("negative ignore_label", (normal(3, 2), labels(1, -1, 0)),
          "loss_param { ignore_label: -1 }", divisor=2, ignore=-1),
    _loss("axis 2", (normal(2, 4, 3), labels(0, 1, 2, 0, 2, 1, 0, 0).reshape(2, 4)),
          "softmax_param { axis: 2 }", divisor=8, axis=2),
    # the batch of BATCH_SIZE is all that comes before the axis
    _loss("axis 2, batch size", (normal(2, 4, 3, 2), np.ones((2, 4, 2), np.float32)),
          "softmax_param { axis: 2 } loss_param { normalization: BATCH_SIZE }", divisor=8, axis=2),
    # BVLC wants as many labels along the first axis as scores, whatever that axis is.
    _loss("axis 0", (normal(2, 4), labels(0, 1, 1, 0).reshape(2, 2)),
          "softmax_param { axis: 0 } loss_param { normalization: BATCH_SIZE }", divisor=1, axis=0),
    # BVLC gives both loss weights to its inner Softmax, which has one top, and aborts.
    _loss("probabilities", _SPATIAL, "loss_weight: 1 loss_weight: 0", divisor=8, prob=True,
          tops=2, bvlc=False),
    # Caffe bounds the value of the loss and not the gradient.
    _loss("vanishing probability", (labels(0, 200, 300, 0).reshape(2, 2), labels(0, 0)), "",
          divisor=2, differentiable=False),
    _loss("no probability at all", (labels(1, -np.inf, -np.inf, 2).reshape(2, 2), labels(1, 1)),
          "", divisor=2, differentiable=False),
]  # fmt: skip


def _accuracy(name: str, bottoms, settings: str = "", tops: int = 1, **reference) -> Case:
    return Case(f"accuracy {name}", f'type: "Accuracy" accuracy_param {{ {settings} }}', bottoms,
                partial(accuracy, by_class=tops == 2, **reference), labels=1, tops=tops,
                differentiable=False, bvlc_backward=False)  # fmt: skip


_SCORES = np.array([[3, 1, 2], [1, 3, 2], [2, 1, 3], [1, 2, 3]], np.float32)
ACCURACIES = [
    _accuracy("plain", (_SCORES, labels(0, 1, 1, 0))),
    _accuracy("top 2", (_SCORES, labels(2, 0, 0, 0)), "top_k: 2", top_k=2),
    _accuracy("ties", (np.ones((3, 3), np.float32), labels(0, 1, 2))),
    _accuracy("ties, top 3", (np.ones((3, 3), np.float32), labels(0, 1, 2)), "top_k: 3", top_k=3),
    _accuracy("ignore", (_SCORES, labels(0, 9, 1, 9)), "ignore_label: 9", ignore=9),
    _accuracy("all ignored", (_SCORES, labels(9, 9, 9, 9)), "ignore_label: 9", ignore=9),
    _accuracy("by class", (_SCORES, labels(0, 1, 1, 1)), tops=2),
    _accuracy("by class, ignore", (_SCORES, labels(0, 9, 1, 1)), "ignore_label: 9", tops=2,
              ignore=9),
    _accuracy("spatial", _SPATIAL, tops=2),
    _accuracy("axis 2", (normal(2, 4, 3), labels(0, 1, 2, 0, 2, 1, 0, 0).reshape(2, 4)),
              "axis: 2", axis=2),
]  # fmt: skip

SOFTMAX = [
    Case("softmax", 'type: "Softmax"', (normal(3, 4),), partial(softmax, axis=1)),
    Case("softmax spatial", 'type: "Softmax"', (normal(2, 3, 2, 2),), partial(softmax, axis=1)),
    Case("softmax axis 2", 'type: "Softmax" softmax_param { axis: 2 }', (normal(2, 3, 4),),
         partial(softmax, axis=2)),
    Case("softmax axis -2", 'type: "Softmax" softmax_param { axis: -2 }', (normal(2, 3, 4),),
         partial(softmax, axis=1)),
    Case("softmax of large scores", 'type: "Softmax"', (1000 * normal(3, 4),),
         partial(softmax, axis=1), differentiable=False),
]  # fmt: skip

CASES = [*LOSSES, *ACCURACIES, *SOFTMAX]

MISTAKES = [
    ("Softmax", "softmax_param { axis: -3 }", [(2, 3)], 1, "axis -3 is not in"),
    ("Softmax", "", [(2, 3)], 0, "expected 1 top blob.s., found 0"),
    ("SoftmaxWithLoss", "", [(2, 3)], 1, "expected 2 bottom blob.s., found 1"),
    ("SoftmaxWithLoss", "", [(2, 3), (3,)], 1, r"need 2 labels, found 3 \(\[3\]\)"),
    ("SoftmaxWithLoss", "", [(2, 3, 4), (8,)], 1, r"first axis, found \[2, 3, 4\] and \[8\]"),
    ("SoftmaxWithLoss", "softmax_param { axis: 2 }", [(2, 3), (2,)], 1, "axis 2 is not in"),
    ("Accuracy", "accuracy_param { top_k: 5 }", [(2, 3), (2,)], 1, "top_k is 5, .* 3 classes"),
    ("Accuracy", "", [(2, 3, 2), (2,)], 1, "need 4 labels, found 2"),
]  # fmt: skip
