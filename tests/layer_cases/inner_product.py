"""InnerProduct."""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from layer_cases.case import Case, normal, places


def inner_product(bottoms, params, *, axis, transpose=False, biased=True):
    (bottom,) = bottoms
    weight, bias = params if biased else (*params, None)
    weight = weight.T if transpose else weight
    rows = bottom.reshape(math.prod(bottom.shape[:axis]), -1)
    top = np.zeros((len(rows), len(weight)))
    for i, o in places(top.shape):
        top[i, o] = sum(float(a) * float(b) for a, b in zip(rows[i], weight[o], strict=True))
        top[i, o] += bias[o] if biased else 0
    return [top.reshape(*bottom.shape[:axis], len(weight))]


def _inner(name: str, bottom, settings: str, **reference) -> Case:
    return Case(f"inner product {name}",
                f'type: "InnerProduct" inner_product_param {{ {settings} }}', (bottom,),
                partial(inner_product, **reference))  # fmt: skip


CASES = [
    _inner("plain", normal(3, 2, 2, 3), "num_output: 4", axis=1),
    _inner("one item", normal(1, 5), "num_output: 2", axis=1),
    _inner("axis 2", normal(2, 3, 4), "num_output: 5 axis: 2", axis=2),
    _inner("axis 0", normal(2, 3), "num_output: 2 axis: 0", axis=0),
    _inner("last axis", normal(2, 3, 4), "num_output: 2 axis: -1", axis=2),
    _inner("transpose", normal(3, 4), "num_output: 2 transpose: true", axis=1, transpose=True),
    _inner("no bias", normal(3, 4), "num_output: 2 bias_term: false", axis=1, biased=False),
]

MISTAKES = [
    ("InnerProduct", "", [(2, 3)], 1, "num_output must be"),
    ("InnerProduct", "inner_product_param { num_output: 1 axis: 2 }", [(2, 3)], 1,
     r"axis 2 is not in a bottom of shape \[2, 3\]"),
    ("InnerProduct", "inner_product_param { num_output: 1 }", [(2, 3), (2, 3)], 1,
     "expected 1 bottom blob.s., found 2"),
]  # fmt: skip
