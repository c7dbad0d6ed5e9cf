"""The losses but SoftmaxWithLoss: Euclidean, hinge, contrastive, infogain, cross entropies."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path

import numpy as np

from caffe.proto import caffe_pb2
from layer_cases.case import Case, apart, labels, normal, places

# -- EuclideanLoss ------------------------------------------------------------------------


def euclidean(bottoms, params):
    one, other = (bottom.astype(float).ravel() for bottom in bottoms)
    total = sum((x - y) ** 2 for x, y in zip(one, other, strict=True))
    return [np.array(total / 2 / len(bottoms[0]))]


def _euclidean(name: str, *bottoms, **more) -> Case:
    return Case(f"euclidean loss {name}", 'type: "EuclideanLoss"', bottoms, euclidean, **more)


EUCLIDEAN = [
    _euclidean("plain", normal(4, 3), normal(4, 3, seed=1)),
    _euclidean("images", normal(2, 3, 2, 2), normal(2, 3, 2, 2, seed=1)),
    _euclidean("other axes", normal(2, 6), normal(2, 3, 2, seed=1)),
    _euclidean("one axis", normal(3), normal(3, seed=1)),
    # Of the second bottom BVLC takes any number of axes, unless asked for its gradient.
    _euclidean("five axes", normal(2, 4), normal(2, 2, 1, 2, 1, seed=1), bvlc_backward=False),
]

# -- HingeLoss ----------------------------------------------------------------------------


def hinge(bottoms, params, *, power=1):
    scores = bottoms[0].astype(float).reshape(len(bottoms[0]), -1)
    total = 0.0
    for row, label in zip(scores, bottoms[1].ravel(), strict=True):
        for place, score in enumerate(row):
            sign = 1 if place == label else -1
            total += max(0.0, 1 - sign * score) ** power
    return [np.array(total / len(scores))]


def _hinge(name: str, *bottoms, settings: str = "", differentiable=True, **more) -> Case:
    return Case(f"hinge loss {name}", f'type: "HingeLoss" hinge_loss_param {{ {settings} }}',
                bottoms, partial(hinge, **more), labels=1,
                differentiable=differentiable)  # fmt: skip


HINGE = [
    _hinge("plain", apart(4, 3), labels(0, 2, 1, 2)),
    _hinge("L1", apart(4, 3), labels(0, 2, 1, 2).reshape(4, 1), settings="norm: L1"),
    _hinge("L2", apart(4, 3), labels(0, 2, 1, 2), settings="norm: L2", power=2),
    _hinge("pixels as classes", apart(2, 2, 2, 2), labels(7, 3)),
    _hinge("one class", apart(3), labels(0, 0, 0)),
    # where the hinge bends Caffe's gradient is 0
    _hinge("at the bend", labels(-1, 1, 1, 0).reshape(2, 2), labels(1, 0), differentiable=False),
]

# -- ContrastiveLoss ----------------------------------------------------------------------


def contrastive(bottoms, params, *, margin=1.0, legacy=False):
    items = len(bottoms[0])
    one, other = (bottom.astype(float).reshape(items, -1) for bottom in bottoms[:2])
    total = 0.0
    for a, b, label in zip(one, other, bottoms[2].ravel(), strict=True):
        squared = sum((a - b) ** 2)
        if int(label):
            total += squared
        elif legacy:
            total += max(0.0, margin - squared)
        else:
            total += max(0.0, margin - math.sqrt(squared)) ** 2
    return [np.array(total / 2 / items)]


def _contrastive(name: str, *bottoms, settings: str = "", differentiable=True, **more) -> Case:
    return Case(
        f"contrastive loss {name}",
        f'type: "ContrastiveLoss" contrastive_loss_param {{ {settings} }}',
        bottoms, partial(contrastive, **more), labels=1, differentiable=differentiable,
    )  # fmt: skip


_CLOSE = (normal(4, 3), normal(4, 3) + 0.3 * normal(4, 3, seed=1))
CONTRASTIVE = [
    # Caffe adds 1e-4 to the distance that its gradient divides by.
    _contrastive("plain", *_CLOSE, labels(0, 1, 0, 1), differentiable=False),
    _contrastive("margin", normal(4, 3), normal(4, 3, seed=1), labels(0, 0, 1, 0),
                 settings="margin: 3", differentiable=False, margin=3),
    _contrastive("legacy", normal(4, 3, 1, 1), normal(4, 3, 1, 1, seed=1),
                 labels(0, 0, 1, 0).reshape(4, 1, 1, 1), settings="margin: 5 legacy_version: true",
                 margin=5, legacy=True),
    _contrastive("legacy, alike only", *_CLOSE, labels(1, 2, -3, 1),
                 settings="legacy_version: true", legacy=True),
    _contrastive("no distance", normal(2, 2), normal(2, 2), labels(0, 1), differentiable=False),
    _contrastive("fraction of a label", *_CLOSE, np.array([0.6, -0.6, 1.6, 1], np.float32),
                 differentiable=False),
    _contrastive("one axis", normal(3), normal(3) + 0.5, labels(0, 1, 0), differentiable=False),
]  # fmt: skip

# -- MultinomialLogisticLoss --------------------------------------------------------------


def multinomial(bottoms, params):
    rows = bottoms[0].astype(float).reshape(len(bottoms[0]), -1)
    total = sum(
        math.log(max(row[int(label)], 1e-20))
        for row, label in zip(rows, bottoms[1].ravel(), strict=True)
    )
    return [np.array(-total / len(rows))]


def _multinomial(name: str, *bottoms, differentiable: bool = True) -> Case:
    return Case(f"multinomial loss {name}", 'type: "MultinomialLogisticLoss"', bottoms,
                multinomial, labels=1, differentiable=differentiable)  # fmt: skip


_SHARES = np.random.default_rng(3).uniform(0.2, 1, (4, 3, 1, 1)).astype(np.float32)
MULTINOMIAL = [
    _multinomial("plain", _SHARES[:, :, 0, 0], labels(0, 2, 1, 2)),
    _multinomial("four axes", _SHARES, labels(0, 2, 1, 2).reshape(4, 1, 1, 1)),
    _multinomial("pixels as classes", _SHARES.reshape(2, 3, 2), labels(5, 2).reshape(2, 1)),
    # Caffe's gradient there is that at the bound.
    _multinomial("no probability", labels(0, 1, 1, 0).reshape(2, 2), labels(0, 0),
                 differentiable=False),
]  # fmt: skip

# -- SigmoidCrossEntropyLoss --------------------------------------------------------------


def sigmoid_loss(bottoms, params, *, divisor, ignore=None):
    total = 0.0
    for score, target in zip(*(bottom.astype(float).ravel() for bottom in bottoms), strict=True):
        if ignore is None or int(target) != ignore:
            # log(1 + e^score), without overflow
            total += max(score, 0) + math.log1p(math.exp(-abs(score))) - target * score
    return [np.array(total / divisor)]


def _sigmoid(name: str, *bottoms, settings: str = "", differentiable=True, **more) -> Case:
    return Case(f"sigmoid loss {name}",
                f'type: "SigmoidCrossEntropyLoss" loss_param {{ {settings} }}', bottoms,
                partial(sigmoid_loss, **more), labels=1,
                differentiable=differentiable)  # fmt: skip


_TARGETS = np.array([[0, 1, 0.25], [1, -1, 1], [0.75, -1, 0], [0, 1.5, 1]], np.float32)
_SCORES = normal(4, 3)
_IGNORE = "ignore_label: -1"
SIGMOID = [
    _sigmoid("plain", _SCORES, _TARGETS, divisor=4),
    _sigmoid("ignore", _SCORES, _TARGETS, settings=_IGNORE, divisor=4, ignore=-1),
    # a fraction is cut off before the comparison
    _sigmoid("ignore zero", _SCORES, _TARGETS, settings="ignore_label: 0 normalization: VALID",
             divisor=7, ignore=0),
    _sigmoid("valid", _SCORES, _TARGETS, settings=f"{_IGNORE} normalization: VALID", divisor=10,
             ignore=-1),
    _sigmoid("valid without ignore", _SCORES, _TARGETS, settings="normalization: VALID",
             divisor=12),
    _sigmoid("full", _SCORES, _TARGETS, settings=f"{_IGNORE} normalization: FULL", divisor=12,
             ignore=-1),
    _sigmoid("batch size", _SCORES, _TARGETS, settings="normalization: BATCH_SIZE", divisor=4),
    _sigmoid("none", _SCORES, _TARGETS, settings="normalization: NONE", divisor=1),
    _sigmoid("normalize", _SCORES, _TARGETS, settings=f"{_IGNORE} normalize: true", divisor=10,
             ignore=-1),
    _sigmoid("do not normalize", _SCORES, _TARGETS, settings="normalize: false", divisor=4),
    _sigmoid("normalization wins", _SCORES, _TARGETS,
             settings="normalize: true normalization: NONE", divisor=1),
    _sigmoid("other axes", normal(2, 2, 1, 3, 1), np.ones((2, 6), np.float32), divisor=2),
    _sigmoid("large scores", labels(900, -900, 0).reshape(1, 3), labels(0, 1, 1).reshape(1, 3),
             divisor=1, differentiable=False),
    _sigmoid("nothing counts", _SCORES[:1], np.zeros((1, 3), np.float32),
             settings="ignore_label: 0 normalization: VALID", divisor=1, ignore=0,
             differentiable=False),
]  # fmt: skip

# -- InfogainLoss -------------------------------------------------------------------------


def infogain(bottoms, params, *, divisor, axis=1, ignore=None, prob=False, gains=None):
    gains = bottoms[2] if gains is None else gains
    rows = np.moveaxis(bottoms[0].astype(float), axis, -1)
    matrix = gains.astype(float).reshape(rows.shape[-1], rows.shape[-1])
    given = bottoms[1].reshape(rows.shape[:-1])
    shares, total = np.zeros(rows.shape), 0.0
    for place in places(given.shape):
        weights = [math.exp(score - max(rows[place])) for score in rows[place]]
        shares[place] = [weight / sum(weights) for weight in weights]
        if given[place] != ignore:
            gain = matrix[int(given[place])]
            logs = [math.log(max(share, 1e-20)) for share in shares[place]]
            total -= sum(g * log for g, log in zip(gain, logs, strict=True))
    loss = np.array(total / divisor)
    return [loss, np.moveaxis(shares, -1, axis)] if prob else [loss]


_GAINS = np.random.default_rng(5).uniform(0, 1, (3, 3)).astype(np.float32)


def _gains_file(folder: Path) -> None:
    blob = caffe_pb2.BlobProto(num=1, channels=1, height=3, width=3, data=_GAINS.ravel())
    (folder / "gains.binaryproto").write_bytes(blob.SerializeToString())


def _infogain(
    name: str, *bottoms, settings: str = "", own: str = "", tops: int = 1, **more
) -> Case:
    """With the matrix as third bottom; without, from a file."""
    file = len(bottoms) == 2
    source = 'source: "gains.binaryproto"' if file else ""
    differentiable = more.pop("differentiable", True)
    if file:
        more["gains"] = _GAINS
    own = f"infogain_loss_param {{ {source} {own} }}"
    # BVLC aborts when a net that forces gradients asks for the third bottom's.
    return Case(f"infogain loss {name}", f'type: "InfogainLoss" {own} {settings}', bottoms,
                partial(infogain, prob=tops == 2, **more), labels=len(bottoms) - 1, tops=tops,
                files=_gains_file if file else None, differentiable=differentiable,
                bvlc_backward=file)  # fmt: skip


_ITEMS = (normal(4, 3), labels(0, 2, 1, 2))
_SPATIAL = (normal(2, 3, 2, 2), labels(0, 2, 1, 2, 1, 1, 0, 2).reshape(2, 2, 2))
INFOGAIN = [
    _infogain("file", *_ITEMS, divisor=4),
    _infogain("bottom", *_ITEMS, _GAINS, divisor=4),
    _infogain("flat bottom", *_ITEMS, _GAINS.reshape(9, 1), divisor=4),
    _infogain("probabilities", *_ITEMS, settings="loss_weight: 1 loss_weight: 0", tops=2,
              divisor=4),
    _infogain("spatial", *_SPATIAL, divisor=8),
    _infogain("ignore", *_SPATIAL, settings="loss_param { ignore_label: 2 }", divisor=5,
              ignore=2),
    _infogain("full", *_SPATIAL, divisor=8, ignore=2,
              settings="loss_param { ignore_label: 2 normalization: FULL }"),
    _infogain("batch size", *_SPATIAL, divisor=2, ignore=2,
              settings="loss_param { ignore_label: 2 normalization: BATCH_SIZE }"),
    _infogain("none", *_SPATIAL, settings="loss_param { normalization: NONE }", divisor=1),
    _infogain("axis", normal(2, 4, 3), labels(0, 1, 2, 0, 2, 1, 0, 0).reshape(2, 4), divisor=8,
              own="axis: 2", axis=2),
    # the axis of softmax_param means nothing here
    _infogain("axis from the back", normal(2, 4, 3), labels(0, 1, 2, 0, 2, 1, 0, 0).reshape(2, 4),
              own="axis: -1", settings="softmax_param { axis: 0 }", axis=2,
              divisor=8),
    _infogain("no probability", np.float32([[-90, 0, 1], [-np.inf, 1, 1]]), labels(0, 0),
              divisor=2, differentiable=False),
]  # fmt: skip

CASES = [*EUCLIDEAN, *HINGE, *CONTRASTIVE, *MULTINOMIAL, *SIGMOID, *INFOGAIN]

_FIVE = (2, 3, 1, 1, 1)
MISTAKES = [
    ("EuclideanLoss", "", [(2, 3), (3, 3)], 1, r"first axis, found \[2, 3\] and \[3, 3\]"),
    ("EuclideanLoss", "", [(2, 3), (2, 4)], 1, r"values an item, found \[2, 3\] and \[2, 4\]"),
    ("EuclideanLoss", "", [(), ()], 1, r"first axis, found \[\] and \[\]"),
    ("EuclideanLoss", "", [_FIVE, _FIVE], 1, "at most four axes"),
    ("EuclideanLoss", "", [(2, 3), (2, 3)], 2, "1 top blob.s., found 2"),
    ("EuclideanLoss", "", [(2, 3)], 1, "2 bottom blob.s., found 1"),
    ("HingeLoss", "", [(2, 3), (3,)], 1, "first axis"),
    ("HingeLoss", "", [(2, 3), (2, 2)], 1, r"2 items need 2 labels, found \[2, 2\]"),
    ("HingeLoss", "", [_FIVE, (2,)], 1, "at most four axes"),
    ("ContrastiveLoss", "", [(2, 3), (3, 3), (2,)], 1, "first axis"),
    ("ContrastiveLoss", "", [(2, 3), (2, 4), (2,)], 1, r"the same shape \(N, C\)"),
    ("ContrastiveLoss", "", [(2, 3, 1, 2), (2, 3, 1, 2), (2,)], 1, r"the same shape \(N, C\)"),
    ("ContrastiveLoss", "", [_FIVE, _FIVE, (2,)], 1, "at most four axes"),
    ("ContrastiveLoss", "", [(2, 3), (2, 3), (1,)], 1, r"2 items need 2 labels, found \[1\]"),
    ("ContrastiveLoss", "", [(2, 3), (2, 3), (1, 2)], 1, r"labels \(N,\), found \[1, 2\]"),
    ("ContrastiveLoss", "", [(2, 3), (2, 3)], 1, "3 bottom blob.s., found 2"),
    ("MultinomialLogisticLoss", "", [(2, 3), (2, 2)], 1, "2 items need 2 labels"),
    ("MultinomialLogisticLoss", "", [(2, 3), (1,)], 1, "first axis"),
    ("MultinomialLogisticLoss", "", [_FIVE, (2,)], 1, "at most four axes"),
    ("SigmoidCrossEntropyLoss", "", [(2, 3), (2, 4)], 1, "one target for each score"),
    ("SigmoidCrossEntropyLoss", "", [(2, 3), (3, 2)], 1, "first axis"),
    ("SigmoidCrossEntropyLoss", "", [(2, 3), (2, 3)], 2, "1 top blob.s., found 2"),
    ("InfogainLoss", "", [(2, 3), (2,)], 1, "matrix is missing: give source, or a third bottom"),
    ("InfogainLoss", 'infogain_loss_param { source: "none" }', [(2, 3), (2,)], 1,
     "matrix cannot be read: none"),
    ("InfogainLoss", "", [(2, 3), (2,), (8,)], 1, r"3 by 3 values, found \[8\]"),
    ("InfogainLoss", "", [(2, 3, 2), (2,), (9,)], 1, "need 4 labels, found 2"),
    ("InfogainLoss", "", [(2, 3), (1, 2), (9,)], 1, "first axis"),
    ("InfogainLoss", "loss_param { normalize: true }", [(2, 3), (2,), (9,)], 1,
     "use normalization"),
    ("InfogainLoss", "infogain_loss_param { axis: 2 }", [(2, 3), (2,), (9,)], 1, "axis 2 is not"),
]  # fmt: skip
