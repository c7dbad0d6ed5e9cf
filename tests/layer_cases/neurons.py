"""ReLU, Dropout: element by element."""

from __future__ import annotations

from functools import partial

import numpy as np

from layer_cases.case import TEST, Case, apart, normal, same


def relu(bottoms, params, *, slope=0.0):
    return [np.vectorize(lambda x: x if x > 0 else slope * x)(bottoms[0].astype(float))]


def times(bottoms, params, *, factor):
    return [factor * bottoms[0].astype(float)]


CASES = [
    Case("relu", 'type: "ReLU"', (apart(2, 3, 2),), relu),
    Case("relu with slope", 'type: "ReLU" relu_param { negative_slope: 0.25 }',
         (apart(2, 3, 2),), partial(relu, slope=0.25)),
    Case("dropout at test", 'type: "Dropout" dropout_param { dropout_ratio: 0.75 }',
         (normal(3, 4),), same, phase=TEST),
    Case("dropout at test, scaled there",
         'type: "Dropout" dropout_param { dropout_ratio: 0.75 scale_train: false }',
         (normal(3, 4),), partial(times, factor=0.25), phase=TEST, bvlc=False),
]  # fmt: skip

MISTAKES = [
    ("Dropout", "dropout_param { dropout_ratio: 1 }", [(2, 3)], 1, "below 1, found 1"),
    ("ReLU", "", [(1,)], 2, "expected 1 top blob.s., found 2"),
]  # fmt: skip
