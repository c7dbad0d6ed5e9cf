"""LRN, MVN, BatchNorm."""

from __future__ import annotations

from functools import partial

import numpy as np

from layer_cases.case import TEST, TRAIN, Case, Reference, normal, places


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


LRNS = [
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
    _lrn("within, wider than the image",
         "local_size: 9 alpha: 2 beta: 0.5 norm_region: WITHIN_CHANNEL engine: CAFFE",
         partial(lrn_within, size=9, alpha=2, beta=0.5)),
]  # fmt: skip


def mvn(bottoms, params, *, across=False, variance=True, eps=1e-9):
    bottom = bottoms[0].astype(float).reshape(*bottoms[0].shape, *(1,) * (4 - bottoms[0].ndim))
    top = np.zeros(bottom.shape)
    groups = places(bottom.shape[:1] if across else bottom.shape[:2])
    for group in groups:
        values = bottom[group]
        mean = sum(values.flat) / values.size
        deviation = (sum((value - mean) ** 2 for value in values.flat) / values.size) ** 0.5
        top[group] = (values - mean) / (deviation + eps) if variance else values - mean
    return [top]


def _mvn(name: str, bottom, settings: str = "", differentiable: bool = True, **more) -> Case:
    return Case(f"mvn {name}", f'type: "MVN" mvn_param {{ {settings} }}', (bottom,),
                partial(mvn, **more), differentiable=differentiable)  # fmt: skip


MVNS = [
    _mvn("plain", normal(2, 3, 4, 3)),
    _mvn("across channels", normal(2, 3, 4, 3) + 1, "across_channels: true", across=True),
    _mvn("mean only", normal(2, 3, 2, 3) + 1, "normalize_variance: false", variance=False),
    _mvn("mean only, across channels", normal(2, 3, 2, 2),
         "normalize_variance: false across_channels: true", variance=False, across=True),
    # Caffe's gradient is not the true one where eps is not small.
    _mvn("large eps", normal(2, 2, 3, 2), "eps: 0.5", differentiable=False, eps=0.5),
    _mvn("three axes", normal(2, 2, 5)),
    _mvn("two axes, across channels", normal(3, 4), "across_channels: true", across=True),
    _mvn("one value a channel", np.ones((2, 3), np.float32), differentiable=False),
]  # fmt: skip


class _Statistics(Case):
    """A case whose parameters are a mean, a variance and a count."""

    def params(self, layer):
        mean, variance, count = super().params(layer)
        return [mean, abs(variance), abs(count)]


def batch_norm(bottoms, params, *, eps=1e-5, stored=False):
    (bottom,) = bottoms
    top = np.zeros(bottom.shape)
    for channel in range(bottom.shape[1]):
        values = bottom[:, channel].astype(float)
        if stored:
            mean, variance = (float(params[i][channel] / params[2][0]) for i in range(2))
        else:
            mean = sum(values.flat) / values.size
            variance = sum((value - mean) ** 2 for value in values.flat) / values.size
        top[:, channel] = (values - mean) / (variance + eps) ** 0.5
    return [top]


def _batch_norm(
    name: str, bottom, settings: str = "", phase: int = TRAIN, differentiable=True, **more
) -> Case:
    return _Statistics(
        f"batch norm {name}", f'type: "BatchNorm" {settings}', (bottom,),
        partial(batch_norm, **more), phase=phase, learnt=False, differentiable=differentiable,
    )  # fmt: skip


_BN = "batch_norm_param {{ {} }}".format
_PARAM = "param { lr_mult: 0 decay_mult: 0 }"
BATCH_NORMS = [
    _batch_norm("in training", normal(3, 2, 2, 3) + 1),
    _batch_norm("in testing", normal(3, 2, 2, 3), phase=TEST, stored=True),
    _batch_norm("settings", normal(4, 3, 2), _BN("eps: 0.5 moving_average_fraction: 0.3"), eps=0.5),
    _batch_norm("global in training", normal(3, 2, 2),
                _BN("use_global_stats: true eps: 0.25") + _PARAM, stored=True, eps=0.25),
    _batch_norm("not global in testing", normal(5, 2),
                _BN("use_global_stats: false") + _PARAM * 3, phase=TEST),
    _batch_norm("no eps", normal(4, 3, 2), _BN("eps: 0"), eps=0),
    _batch_norm("no eps in testing", normal(4, 3, 2), _BN("eps: 0"), phase=TEST, stored=True,
                eps=0),
    _batch_norm("5-D", normal(2, 2, 2, 3, 2)),
    _batch_norm("one value", normal(1, 3, 1, 1), differentiable=False),
]  # fmt: skip

CASES = [*LRNS, *MVNS, *BATCH_NORMS]

IMAGE = (2, 3, 5, 5)
MISTAKES = [
    ("LRN", "lrn_param { local_size: 4 }", [IMAGE], 1, "must be odd, found 4"),
    ("LRN", "", [(2, 3)], 1, r"\(N, C, H, W\), found \[2, 3\]"),
    ("LRN", "lrn_param { local_size: 0 }", [IMAGE], 1, "must be odd, found 0"),
    ("LRN", "lrn_param { norm_region: WITHIN_CHANNEL }", [(2, 3, 4)], 1, r"\(N, C, H, W\)"),
    ("MVN", "", [(1, 2, 2, 2, 2)], 1, r"at most four axes, found the bottom \[1, 2, 2, 2, 2\]"),
    ("MVN", "", [IMAGE], 2, "1 top blob.s., found 2"),
    ("BatchNorm", "", [(4,)], 1, r"\(N, C, ...\), found \[4\]"),
    ("BatchNorm", "param { lr_mult: 2 }", [IMAGE], 1, "not learnt, but param has lr_mult 2"),
    ("BatchNorm", "param { decay_mult: 0 }", [IMAGE], 1, "lr_mult 1 .1 where none is given"),
    ("BatchNorm", "param { lr_mult: 0 } param {}", [IMAGE], 1, "say lr_mult: 0 or leave"),
    ("BatchNorm", "", [IMAGE], 2, "1 top blob.s., found 2"),
]  # fmt: skip
