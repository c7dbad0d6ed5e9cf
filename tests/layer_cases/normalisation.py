"""LRN."""

from __future__ import annotations

from functools import partial

import numpy as np

from layer_cases.case import Case, Reference, normal, places


def lrn_across(bottoms, params, *, size, alpha, beta, k):
    (bottom,) = bottoms
    top = np.zeros(bottom.shape)
    for n, c, i, j in places(bottom.shape):
        around = range(max(0, c - size // 2), min(bottom.shape[1], c + size // 2 + 1))
        squares = sum(float(bottom[n, d, i, j]) ** 2 for d in around)
        top[n, c, i, j] = bottom[n, c, i, j] / (k + alpha / size * squares) ** beta
    return [top]


def lrn_within(bottoms, params, *, size, alpha, beta):
    (bottom,) = bottoms
    height, width = bottom.shape[2:]
    top = np.zeros(bottom.shape)
    for n, c, i, j in places(bottom.shape):
        squares = sum(
            float(bottom[n, c, v, u]) ** 2
            for v in range(max(0, i - size // 2), min(height, i + size // 2 + 1))
            for u in range(max(0, j - size // 2), min(width, j + size // 2 + 1))
        )
        top[n, c, i, j] = bottom[n, c, i, j] / (1 + alpha / size**2 * squares) ** beta
    return [top]


def _lrn(name: str, settings: str, reference: Reference) -> Case:
    return Case(f"lrn {name}", f'type: "LRN" lrn_param {{ {settings} }}', (normal(2, 5, 3, 4),),
                reference)  # fmt: skip


CASES = [
    _lrn("across", "local_size: 3 alpha: 1 beta: 0.75 k: 2",
         partial(lrn_across, size=3, alpha=1, beta=0.75, k=2)),
    _lrn("across all", "local_size: 11 alpha: 2 beta: 0.5 k: 1",
         partial(lrn_across, size=11, alpha=2, beta=0.5, k=1)),
    _lrn("across one", "local_size: 1 alpha: 2 beta: 0.5 k: 1.5",
         partial(lrn_across, size=1, alpha=2, beta=0.5, k=1.5)),
    # k has no meaning within a channel
    _lrn("within", "local_size: 3 alpha: 1 beta: 0.75 k: 2 norm_region: WITHIN_CHANNEL",
         partial(lrn_within, size=3, alpha=1, beta=0.75)),
    _lrn("within wide", "local_size: 5 alpha: 2 beta: 0.5 norm_region: WITHIN_CHANNEL",
         partial(lrn_within, size=5, alpha=2, beta=0.5)),
]  # fmt: skip

IMAGE = (2, 3, 5, 5)
MISTAKES = [
    ("LRN", "lrn_param { local_size: 4 }", [IMAGE], 1, "must be odd, found 4"),
    ("LRN", "", [(2, 3)], 1, r"\(N, C, H, W\), found \[2, 3\]"),
]  # fmt: skip
