"""Eltwise, Reduction, ArgMax, BatchReindex, Filter: what combines values, or chooses among them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import numpy as np

from layer_cases.case import Case, apart, labels, normal, places


def eltwise(bottoms, params, *, of):
    top = np.zeros(bottoms[0].shape)
    for place in places(top.shape):
        top[place] = of([float(bottom[place]) for bottom in bottoms])
    return [top]


def weighted(values: Sequence[float], *factors: float) -> float:
    return sum(factor * value for factor, value in zip(factors, values, strict=True))


def _eltwise(name: str, settings: str, of, bottoms=(), differentiable: bool = True) -> Case:
    bottoms = bottoms or tuple(normal(2, 3, 2, seed=seed) for seed in range(3))
    return Case(f"eltwise {name}", f'type: "Eltwise" eltwise_param {{ {settings} }}',
                tuple(bottoms), partial(eltwise, of=of), differentiable=differentiable)  # fmt: skip


_APART = tuple(apart(3, 2, 3)[index] for index in range(3))
_EQUAL = tuple(
    np.array(row, np.float32)
    for row in ([1, 2, 1, 3, 0], [1, 2, 2, 1, 3], [1, 1, 2, 3, 3], [0, 2, 2, 3, 3])
)
ELTWISES = [
    _eltwise("default", "", sum),
    _eltwise("sum of two", "operation: SUM", sum, (normal(4), normal(4, seed=1))),
    _eltwise("sum with coeff", "coeff: 2 coeff: -0.5 coeff: 3",
             lambda values: weighted(values, 2, -0.5, 3)),
    _eltwise("sum with coeff of 1 and 0", "operation: SUM coeff: 1 coeff: 1.5",
             lambda values: weighted(values, 1, 1.5), (normal(2, 3), normal(2, 3, seed=1))),
    _eltwise("product", "operation: PROD", math.prod),
    _eltwise("product of two", "operation: PROD", math.prod, (normal(4), normal(4, seed=1))),
    _eltwise("product, not stable", "operation: PROD stable_prod_grad: false", math.prod),
    _eltwise("product of zeros", "operation: PROD", math.prod,
             (labels(0, 1, 0, 2), labels(3, 0, 0, 4), labels(5, 6, 7, 8))),
    _eltwise("maximum", "operation: MAX", max, _APART),
    _eltwise("maximum of two", "operation: MAX", max, _APART[:2]),
    _eltwise("maximum of equals", "operation: MAX", max, _EQUAL, differentiable=False),
    # which then counts for nothing
    _eltwise("maximum with coeff", "operation: MAX coeff: 5 coeff: 0 coeff: -1", max, _APART),
]  # fmt: skip


def reduction(bottoms, params, *, of, axis=0):
    (bottom,) = bottoms
    top = np.zeros(bottom.shape[:axis])
    for place in places(top.shape):
        top[place] = of([float(value) for value in bottom[place].flat])
    return [top]


def _reduction(name: str, settings: str, of, bottom=None, axis: int = 0, **more) -> Case:
    bottom = apart(2, 3, 4) if bottom is None else bottom
    return Case(f"reduction {name}", f'type: "Reduction" reduction_param {{ {settings} }}',
                (bottom,), partial(reduction, of=of, axis=axis), **more)  # fmt: skip


def _absolute(values):
    return sum(abs(value) for value in values)


REDUCTIONS = [
    _reduction("default", "", sum),
    _reduction("sum", "operation: SUM axis: 1 coeff: -1.5", lambda v: -1.5 * sum(v), axis=1),
    _reduction("absolute sum", "operation: ASUM axis: 1", _absolute, axis=1),
    _reduction("absolute sum with coeff", "operation: ASUM axis: -2 coeff: 3",
               lambda v: 3 * _absolute(v), axis=1),
    _reduction("absolute sum of zero", "operation: ASUM", _absolute, labels(0, -1, 2),
               differentiable=False),
    _reduction("sum of squares", "operation: SUMSQ axis: 2 coeff: 0.5",
               lambda v: 0.5 * sum(x * x for x in v), axis=2),
    _reduction("mean", "operation: MEAN axis: 1", lambda v: sum(v) / 12, axis=1),
    _reduction("mean with coeff", "operation: MEAN axis: -1 coeff: 2.5",
               lambda v: 2.5 * sum(v) / 4, axis=2),
    _reduction("mean of all", "operation: MEAN", lambda v: sum(v) / 24),
    _reduction("coeff of zero", "coeff: 0", lambda v: 0, differentiable=False),
    _reduction("5-D", "axis: 3", sum, normal(1, 2, 2, 2, 3), axis=3),
    _reduction("1-D", "operation: SUMSQ", lambda v: sum(x * x for x in v), normal(4)),
]  # fmt: skip


def ranked(values) -> list[tuple[float, int]]:
    """Values with their index, the largest first, of equal ones the last."""
    return sorted(((float(x), i) for i, x in enumerate(values)), reverse=True)


def arg_max(bottoms, params, *, count, shape, with_value=False):
    (bottom,) = bottoms
    rows = []
    for item in bottom:
        best = ranked(np.asarray(item).flat)[:count]
        rows.append([index for _, index in best] + [value for value, _ in best] * with_value)
    return [np.array(rows, float).reshape(shape)]


def arg_max_along(bottoms, params, *, count, axis, with_value=False):
    bottom = np.moveaxis(bottoms[0], axis, -1)
    top = np.zeros((*bottom.shape[:-1], count))
    for place in places(bottom.shape[:-1]):
        best = ranked(bottom[place])[:count]
        top[place] = [value if with_value else index for value, index in best]
    return [np.moveaxis(top, -1, axis)]


def _arg_max(name: str, settings: str, bottom, reference) -> Case:
    # Its backward aborts: it has none.
    return Case(f"argmax {name}", f'type: "ArgMax" argmax_param {{ {settings} }}', (bottom,),
                reference, fixed=(0,), differentiable=False, bvlc_backward=False)  # fmt: skip


_TIES = np.array([[1, 3, 3, 2], [5, 5, 5, 5], [0, -1, 0, -2]], np.float32)
ARG_MAXES = [
    _arg_max("2-D", "", normal(3, 4), partial(arg_max, count=1, shape=(3, 1, 1))),
    _arg_max("1-D", "", normal(3), partial(arg_max, count=1, shape=(3, 1, 1))),
    _arg_max("3-D", "top_k: 2", normal(2, 3, 4), partial(arg_max, count=2, shape=(2, 1, 2))),
    _arg_max("4-D with values", "top_k: 3 out_max_val: true", normal(2, 2, 2, 3),
             partial(arg_max, count=3, shape=(2, 2, 3, 1), with_value=True)),
    _arg_max("5-D", "", normal(2, 1, 2, 2, 3),
             partial(arg_max, count=1, shape=(2, 1, 1, 1, 1))),
    _arg_max("of equals", "", _TIES, partial(arg_max, count=1, shape=(3, 1, 1))),
    _arg_max("all of equals", "top_k: 4 out_max_val: true", _TIES,
             partial(arg_max, count=4, shape=(3, 2, 4), with_value=True)),
    _arg_max("along channels", "axis: 1", normal(2, 4, 3), partial(arg_max_along, count=1, axis=1)),
    _arg_max("along items", "axis: 0 top_k: 2", normal(3, 2, 2),
             partial(arg_max_along, count=2, axis=0)),
    _arg_max("along the last", "axis: -1 top_k: 3", normal(2, 3, 4),
             partial(arg_max_along, count=3, axis=2)),
    _arg_max("values along", "axis: -2 top_k: 2 out_max_val: true", normal(2, 3, 4),
             partial(arg_max_along, count=2, axis=1, with_value=True)),
    _arg_max("a value along", "axis: 1 out_max_val: true", normal(2, 3, 4),
             partial(arg_max_along, count=1, axis=1, with_value=True)),
    _arg_max("along, of equals", "axis: 1", _TIES, partial(arg_max_along, count=1, axis=1)),
    _arg_max("along, two of equals", "axis: 1 top_k: 2", _TIES,
             partial(arg_max_along, count=2, axis=1)),
]  # fmt: skip


def batch_reindex(bottoms, params):
    bottom, index = bottoms
    return [np.array([bottom[int(i)] for i in index])]


def _batch_reindex(name: str, bottom, *index: float) -> Case:
    # Its backward aborts where the indices want a gradient; see test_structure.py.
    return Case(f"batch reindex {name}", 'type: "BatchReindex"',
                (bottom, np.array(index, np.float32)), batch_reindex, fixed=(1,),
                bvlc_backward=False)  # fmt: skip


BATCH_REINDEXES = [
    _batch_reindex("repeats and leaves out", normal(4, 2, 3), 3, 0, 3, 1, 1),
    _batch_reindex("one", normal(3, 2), 2),
    _batch_reindex("1-D", normal(3), 1, 0),
    _batch_reindex("broken numbers", normal(3, 2), 1.75, 0.25),
]


def chosen(bottoms, params):
    *values, selector = bottoms
    kept = [i for i, mark in enumerate(selector.flat) if mark != 0]
    return [np.array([bottom[i] for i in kept]) for bottom in values]


def _filter(name: str, selector, *bottoms) -> Case:
    # Its backward aborts where the selector wants a gradient; see test_structure.py.
    return Case(f"filter {name}", 'type: "Filter"', (*bottoms, selector), chosen,
                labels=1, tops=len(bottoms), bvlc_backward=False)  # fmt: skip


FILTERS = [
    _filter("one bottom", labels(1, 0, 1, 1), normal(4, 2, 3)),
    _filter("any number but zero", labels(0, -2, 0, 7).reshape(4, 1, 1), normal(4, 2)),
    _filter("three bottoms", labels(1, 0, 1), normal(3), normal(3, 2), normal(3, 1, 2, 2)),
    _filter("all pass", labels(1, 1), normal(2, 2)),
]

CASES = [*ELTWISES, *REDUCTIONS, *ARG_MAXES, *BATCH_REINDEXES, *FILTERS]

_PAIR = [(3, 4), (3, 4)]
MISTAKES = [
    ("Eltwise", "", [(3, 4)], 1, "expected 2 to any number of bottom blob.s., found 1"),
    ("Eltwise", "", [(3, 4), (3, 4, 1)], 1, r"same shape, found \[3, 4\] and \[3, 4, 1\]"),
    ("Eltwise", "", [(3, 4), (3, 4), (1, 4)], 1, r"same shape, found \[3, 4\] and \[1, 4\]"),
    ("Eltwise", "eltwise_param { coeff: 1 }", _PAIR, 1, "coeff is given 1 time.s. for 2 bottoms"),
    ("Eltwise", "eltwise_param { operation: MAX coeff: 1 }", _PAIR, 1, "given 1 time.s. for 2"),
    ("Eltwise", "eltwise_param { operation: PROD coeff: 1 coeff: 1 }", _PAIR, 1,
     "only operation: SUM has coeff"),
    ("Reduction", "reduction_param { axis: 2 }", [(3, 4)], 1, "axis 2 is not in"),
    ("Reduction", "reduction_param { axis: -3 }", [(3, 4)], 1, "axis -3 is not in"),
    ("Reduction", "", [()], 1, r"axis 0 is not in a bottom of shape \[\]"),
    ("Reduction", "", _PAIR, 1, "1 bottom blob.s., found 2"),
    ("ArgMax", "argmax_param { top_k: 0 }", [(3, 4)], 1, "top_k must be from 1 to the 4 values"),
    ("ArgMax", "argmax_param { top_k: 5 }", [(3, 4)], 1, "to the 4 values .* found 5"),
    ("ArgMax", "argmax_param { top_k: 4 axis: 0 }", [(3, 4)], 1, "to the 3 values .* found 4"),
    ("ArgMax", "argmax_param { axis: 2 }", [(3, 4)], 1, "axis 2 is not in"),
    ("ArgMax", "", [()], 1, "found one without axes"),
    ("BatchReindex", "", [(3, 4)], 1, "2 bottom blob.s., found 1"),
    ("BatchReindex", "", [(3, 4), (2, 1)], 1, r"one axis of indices, found \[2, 1\]"),
    ("BatchReindex", "", [(3, 4), ()], 1, r"one axis of indices, found \[\]"),
    ("BatchReindex", "", [(), (2,)], 1, "found one without axes"),
    ("Filter", "", [(3, 4)], 1, "expected 2 to any number of bottom"),
    ("Filter", "", [(3, 4), (3,)], 2, "found 2 for 2 bottoms"),
    ("Filter", "", [(3, 4), (3, 4), (3,)], 1, "found 1 for 3 bottoms"),
    ("Filter", "", [(3, 4), (3, 2)], 1, r"selector needs one value an item, found \[3, 2\]"),
    ("Filter", "", [(3, 4), ()], 1, r"selector needs one value an item, found \[\]"),
    ("Filter", "", [(3, 4), (2,)], 1, r"the selector \[2\] and the bottom \[3, 4\] differ"),
    ("Filter", "", [(), (1,)], 1, r"the selector \[1\] and the bottom \[\] differ"),
]  # fmt: skip
