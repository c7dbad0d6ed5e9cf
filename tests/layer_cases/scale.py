"""Scale, Bias, Embed, Parameter: what only multiplies, adds or looks up what was learned."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from layer_cases.case import Case, labels, normal, places


def _at(array, place: Sequence[int], start: int) -> float:
    """The element of an array that is spread from axis ``start`` on."""
    return float(array[tuple(place[start : start + array.ndim])])


def scale(bottoms, params, *, start):
    bottom, factor, *biases = [*bottoms, *params]
    top = np.zeros(bottom.shape)
    for place in places(bottom.shape):
        top[place] = float(bottom[place]) * _at(factor, place, start)
        top[place] += sum(_at(bias, place, start) for bias in biases)
    return [top]


def bias(bottoms, params, *, start):
    bottom, added = [*bottoms, *params]
    top = np.zeros(bottom.shape)
    for place in places(bottom.shape):
        top[place] = float(bottom[place]) + _at(added, place, start)
    return [top]


# name, settings, shapes of the bottoms, the axis that the array starts at
_SPREADS: list[tuple[str, str, list[tuple[int, ...]], int]] = [
    ("a channel", "", [(2, 3, 2, 2)], 1),
    ("2-D", "", [(3, 4)], 1),
    ("axis 0", "axis: 0", [(3, 4)], 0),
    ("the last axis", "axis: -1", [(2, 3, 4)], 2),
    ("two axes", "axis: 1 num_axes: 2", [(2, 3, 2, 3)], 1),
    ("two axes from the back", "axis: -3 num_axes: 2", [(2, 3, 2, 3)], 1),
    ("all that follow", "axis: 1 num_axes: -1", [(3, 2, 4)], 1),
    ("all there are", "axis: 0 num_axes: -1", [(3, 4)], 0),
    ("a number", "num_axes: 0", [(3, 4)], 0),
    ("5-D", "axis: 2", [(2, 1, 3, 2, 2)], 2),
    ("two bottoms", "", [(2, 3, 2), (3,)], 1),
    ("two bottoms, whole", "axis: 0", [(2, 3), (2, 3)], 0),
    ("two bottoms, in the midst", "axis: -3", [(2, 3, 2, 2), (3, 2)], 1),
    # with two bottoms the second one says how many axes
    ("two bottoms, num_axes", "axis: 0 num_axes: 7", [(3, 4, 2), (3, 4)], 0),
    ("two bottoms, a number", "axis: 1", [(3, 4), ()], 0),
]


def _cases(type_: str, name: str, settings: str, shapes, **more) -> Case:
    bottoms = tuple(
        np.asarray(normal(*shape, seed=index), np.float32) for index, shape in enumerate(shapes)
    )
    return Case(f"{type_.lower()} {name}", f'type: "{type_}" {settings}', bottoms, **more)


SPREADS = [
    *(_cases("Bias", name, f"bias_param {{ {settings} }}", shapes,
             reference=partial(bias, start=start))
      for name, settings, shapes, start in _SPREADS),
    *(_cases("Scale", name, f"scale_param {{ {settings} }}", shapes,
             reference=partial(scale, start=start))
      for name, settings, shapes, start in _SPREADS),
    *(_cases("Scale", f"{name}, and a bias", f"scale_param {{ {settings} bias_term: true }}",
             shapes, reference=partial(scale, start=start))
      for name, settings, shapes, start in _SPREADS),
    # A number goes with any axis, unless a bias has to be made.
    _cases("Scale", "a number, and an axis out of range", "scale_param { axis: 9 }", [(2, 3), ()],
           reference=partial(scale, start=0)),
    _cases("Bias", "a number, and an axis out of range", "bias_param { axis: 9 }", [(2, 3), ()],
           reference=partial(bias, start=0)),
]  # fmt: skip


def embed(bottoms, params):
    (bottom,), (weight, *biases) = bottoms, params
    top = np.zeros((*bottom.shape, weight.shape[1]))
    for *place, column in places(top.shape):
        top[(*place, column)] = float(weight[int(bottom[tuple(place)]), column])
        top[(*place, column)] += sum(float(one[column]) for one in biases)
    return [top]


def _embed(name: str, settings: str, bottom) -> Case:
    # Its backward aborts where the bottom wants a gradient; see test_structure.py.
    return Case(f"embed {name}", f'type: "Embed" embed_param {{ {settings} }}', (bottom,),
                embed, fixed=(0,), bvlc_backward=False)  # fmt: skip


EMBEDS = [
    _embed("with a bias", "num_output: 3 input_dim: 4", labels(0, 3, 1, 3)),
    _embed("without", "num_output: 2 input_dim: 3 bias_term: false", labels(2, 0, 2)),
    _embed("2-D", "num_output: 2 input_dim: 5", labels(4, 0, 2, 2, 1, 3).reshape(2, 3)),
    _embed("a number", "num_output: 2 input_dim: 5", np.array(3, np.float32)),
    _embed("broken numbers", "num_output: 2 input_dim: 3", np.array([1.75, -0.5, 2], np.float32)),
]


def learned(bottoms, params):
    return [params[0]]


PARAMETERS = [
    Case(f"parameter {name}", f'type: "Parameter" parameter_param {{ {shape} }}', (), learned)
    for name, shape in [
        ("2-D", "shape { dim: 2 dim: 3 }"),
        ("5-D", "shape { dim: 1 dim: 2 dim: 1 dim: 3 dim: 2 }"),
        ("a number", "shape { }"),
        ("a number, without a shape", ""),
    ]
]

CASES = [*SPREADS, *EMBEDS, *PARAMETERS]


def _spread_mistakes(type_: str, field: str) -> list[tuple]:
    def settings(text: str) -> str:
        return f"{field} {{ {text} }}"

    return [
        (type_, "", [(3,)], 1, r"axis 1 is not in a bottom of shape \[3\]"),
        (type_, settings("axis: -3"), [(3, 4)], 1, "axis -3 is not in a bottom"),
        (type_, settings("axis: 2 num_axes: 0"), [(3, 4)], 1, "axis 2 is not in a bottom"),
        (type_, settings("num_axes: 2"), [(3, 4)], 1,
         r"num_axes 2 from axis 1 on are more than the bottom \[3, 4\] has"),
        (type_, settings("num_axes: -2"), [(3, 4)], 1, "or -1 for all, found -2"),
        (type_, "", [(3, 4), (3,)], 1,
         r"\[3\] does not fit the bottom \[3, 4\] from axis 1 on, where that is \[4\]"),
        (type_, "", [(3, 4), (4, 1)], 1, r"\[4, 1\] does not fit"),
        (type_, settings("axis: 2"), [(3, 4), (4,)], 1, "axis 2 is not in a bottom"),
        (type_, "", [(3, 4)] * 3, 1, "1 to 2 bottom blob.s., found 3"),
        (type_, "", [], 1, "1 to 2 bottom blob.s., found 0"),
        (type_, "", [(3, 4)], 2, "1 top blob.s., found 2"),
        (type_, settings('filler { type: "nothing" }'), [(3, 4)], 1, "filler type 'nothing'"),
        (type_, settings('num_axes: 0 filler { type: "msra" }'), [(3, 4)], 1,
         "the msra filler needs an axis at least, found a single number"),
    ]  # fmt: skip


MISTAKES = [
    *_spread_mistakes("Scale", "scale_param"),
    *_spread_mistakes("Bias", "bias_param"),
    ("Scale", "scale_param { axis: 9 bias_term: true }", [(3, 4), ()], 1, "axis 9 is not in a"),
    ("Scale", 'scale_param { bias_term: true bias_filler { type: "nothing" } }', [(3, 4), (4,)],
     1, "filler type 'nothing'"),
    ("Embed", "embed_param { num_output: 3 }", [(2,)], 1, "input_dim must be at least 1"),
    ("Embed", "embed_param { input_dim: 3 }", [(2,)], 1, "num_output must be at least 1"),
    ("Embed", "embed_param { num_output: 1 input_dim: 3 }", [(2,)] * 2, 1, "1 bottom blob"),
    ("Embed", "embed_param { num_output: 1 input_dim: 3 }", [(2,)], 2, "1 top blob"),
    ("Parameter", "parameter_param { shape { dim: 0 } }", [], 1, r"the shape \[0\]"),
    ("Parameter", "parameter_param { shape { dim: 2 dim: -1 } }", [], 1, r"the shape \[2, -1\]"),
    ("Parameter", "parameter_param { shape { dim: 2 } }", [(2,)], 1, "0 bottom blob.s., found 1"),
    ("Parameter", "parameter_param { shape { dim: 2 } }", [], 2, "1 top blob.s., found 2"),
]  # fmt: skip
