"""Split, Concat, Slice, Flatten, Reshape, Crop, Tile, Silence: what only moves values."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import partial

import numpy as np

from layer_cases.case import Case, normal, places, same


def concat(bottoms, params, *, axis):
    shape = list(bottoms[0].shape)
    shape[axis] = sum(bottom.shape[axis] for bottom in bottoms)
    top, behind = np.zeros(shape), 0
    for bottom in bottoms:
        for place in places(bottom.shape):
            there = (*place[:axis], place[axis] + behind, *place[axis + 1 :])
            top[there] = bottom[place]
        behind += bottom.shape[axis]
    return [top]


def _concat(name: str, settings: str, axis: int, *shapes: Sequence[int]) -> Case:
    bottoms = tuple(normal(*shape, seed=index) for index, shape in enumerate(shapes))
    return Case(f"concat {name}", f'type: "Concat" concat_param {{ {settings} }}', bottoms,
                partial(concat, axis=axis))  # fmt: skip


CONCATS = [
    _concat("channels", "", 1, (2, 3, 2), (2, 1, 2)),
    _concat("items", "axis: 0", 0, (2, 3), (1, 3), (3, 3)),
    _concat("from the back", "axis: -2", 1, (2, 3, 2), (2, 2, 2)),
    _concat("the last axis", "axis: -1", 2, (2, 1, 2), (2, 1, 3)),
    _concat("old", "concat_dim: 0", 0, (2, 3), (1, 3)),
    _concat("5-D", "axis: 3", 3, (1, 2, 1, 2, 2), (1, 2, 1, 1, 2)),
    _concat("one", "", 1, (2, 3)),
    _concat("1-D", "axis: 0", 0, (2,), (3,)),
]


def slice_(bottoms, params, *, axis, cuts):
    (bottom,) = bottoms
    tops = []
    for start, end in itertools.pairwise([0, *cuts, bottom.shape[axis]]):
        top = np.zeros((*bottom.shape[:axis], end - start, *bottom.shape[axis + 1 :]))
        for place in places(top.shape):
            top[place] = bottom[(*place[:axis], place[axis] + start, *place[axis + 1 :])]
        tops.append(top)
    return tops


def _slice(name: str, settings: str, axis: int, cuts: Sequence[int], *shape: int) -> Case:
    return Case(f"slice {name}", f'type: "Slice" slice_param {{ {settings} }}', (normal(*shape),),
                partial(slice_, axis=axis, cuts=cuts), tops=len(cuts) + 1)  # fmt: skip


SLICES = [
    _slice("evenly", "", 1, (2,), 2, 4, 2),
    _slice("evenly in three", "axis: 0", 0, (1, 2), 3, 2),
    _slice("from the back", "axis: -1", 2, (2,), 2, 1, 4),
    _slice("at a point", "slice_point: 1", 1, (1,), 2, 4),
    _slice("at points", "axis: -2 slice_point: 1 slice_point: 4", 1, (1, 4), 2, 5, 2),
    _slice("old", "slice_dim: 0 slice_point: 2", 0, (2,), 3, 2),
    _slice("one", "", 1, (), 2, 3),
    _slice("5-D", "axis: 2 slice_point: 2", 2, (2,), 1, 2, 3, 1, 2),
]


def reshaped(bottoms, params, *, shape):
    return [np.array(list(bottoms[0].flat)).reshape(shape)]


def _flatten(settings: str, bottom: Sequence[int], top: Sequence[int]) -> Case:
    return Case(f"flatten {settings or 'plain'} of {len(bottom)} axes",
                f'type: "Flatten" flatten_param {{ {settings} }}',
                (normal(*bottom),), partial(reshaped, shape=top))  # fmt: skip


FLATTENS = [
    _flatten("", (2, 3, 4, 2), (2, 24)),
    _flatten("", (2, 3), (2, 3)),
    _flatten("axis: 0", (2, 3, 4), (24,)),
    _flatten("axis: 0", (5,), (5,)),
    _flatten("axis: 0 end_axis: 1", (2, 3, 4), (6, 4)),
    _flatten("axis: -3 end_axis: -2", (2, 3, 4, 5), (2, 12, 5)),
    _flatten("axis: 2 end_axis: 2", (2, 3, 4), (2, 3, 4)),
    # an end_axis just before axis puts one in
    _flatten("axis: 2 end_axis: 1", (2, 3, 4), (2, 3, 1, 4)),
]


def _reshape(settings: str, bottom: Sequence[int], top: Sequence[int]) -> Case:
    return Case(f"reshape {settings} of {len(bottom)} axes",
                f'type: "Reshape" reshape_param {{ {settings} }}',
                (normal(*bottom),), partial(reshaped, shape=top))  # fmt: skip


RESHAPES = [
    _reshape("shape { dim: 4 dim: 6 }", (2, 3, 4), (4, 6)),
    _reshape("shape { dim: 0 dim: -1 }", (2, 3, 4), (2, 12)),
    _reshape("shape { dim: -1 dim: 0 dim: 2 }", (2, 3, 4), (4, 3, 2)),
    _reshape("shape { dim: 0 dim: 0 dim: 0 }", (2, 3, 4), (2, 3, 4)),
    _reshape("shape { dim: -1 }", (2, 3, 4), (24,)),
    _reshape("shape { dim: 3 dim: -1 } axis: 1", (2, 6, 2), (2, 3, 4)),
    _reshape("shape { dim: 3 dim: 2 } axis: 1 num_axes: 1", (2, 6, 2), (2, 3, 2, 2)),
    _reshape("shape { dim: 1 } axis: 1 num_axes: 0", (2, 3), (2, 1, 3)),
    _reshape("shape { dim: 1 } axis: -1", (2, 3), (2, 3, 1)),
    _reshape("shape { dim: 1 dim: -1 } axis: -1", (2, 3), (2, 3, 1, 1)),
    _reshape("shape { dim: 2 dim: 2 } axis: -2", (2, 3, 4), (2, 3, 2, 2)),
    _reshape("shape { dim: 1 } axis: -3 num_axes: 0", (2, 3), (1, 2, 3)),
    _reshape("shape { dim: -1 } axis: -3 num_axes: 2", (2, 3, 4), (2, 12)),
    # a 0 copies the axis at its place, even one that is not replaced
    _reshape("shape { dim: 0 dim: -1 } axis: 1 num_axes: 1", (2, 3, 1), (2, 3, 1, 1)),
    _reshape("shape { }", (1, 1), ()),
]


def crop(bottoms, params, *, offsets):
    bottom, like = bottoms
    start = bottom.ndim - len(offsets)
    top = np.zeros((*bottom.shape[:start], *like.shape[start : bottom.ndim]))
    for place in places(top.shape):
        moved = (at + offset for at, offset in zip(place[start:], offsets, strict=True))
        top[place] = bottom[(*place[:start], *moved)]
    return [top]


def _crop(name: str, settings: str, bottom, like, offsets: Sequence[int]) -> Case:
    return Case(f"crop {name}", f'type: "Crop" crop_param {{ {settings} }}',
                (normal(*bottom), normal(*like, seed=1)), partial(crop, offsets=offsets),
                fixed=(1,))  # fmt: skip


CROPS = [
    _crop("at the corner", "", (2, 3, 4, 5), (1, 1, 2, 3), (0, 0)),
    _crop("one offset", "offset: 1", (2, 3, 4, 5), (1, 1, 2, 3), (1, 1)),
    _crop("an offset an axis", "offset: 2 offset: 1", (2, 3, 4, 5), (1, 1, 2, 3), (2, 1)),
    _crop("channels too", "axis: 1 offset: 1 offset: 0 offset: 2", (1, 3, 2, 4), (1, 2, 2, 2),
          (1, 0, 2)),
    _crop("all axes", "axis: 0 offset: 1", (3, 3), (2, 1), (1, 1)),
    _crop("the last axis", "axis: -1 offset: 3", (2, 3, 4), (5, 5, 1), (3,)),
    _crop("nothing", "axis: 0", (2, 3), (2, 3), (0, 0)),
    _crop("like one of more axes", "axis: 1", (2, 3), (2, 2, 7), (0,)),
]  # fmt: skip


def tile(bottoms, params, *, axis, tiles):
    (bottom,) = bottoms
    size = bottom.shape[axis]
    top = np.zeros((*bottom.shape[:axis], size * tiles, *bottom.shape[axis + 1 :]))
    for place in places(top.shape):
        top[place] = bottom[(*place[:axis], place[axis] % size, *place[axis + 1 :])]
    return [top]


def _tile(name: str, settings: str, *shape: int, **reference) -> Case:
    return Case(f"tile {name}", f'type: "Tile" tile_param {{ {settings} }}', (normal(*shape),),
                partial(tile, **reference))  # fmt: skip


TILES = [
    _tile("channels", "tiles: 3", 2, 2, 2, axis=1, tiles=3),
    _tile("items", "tiles: 2 axis: 0", 2, 3, axis=0, tiles=2),
    _tile("the last axis", "tiles: 2 axis: -1", 2, 1, 3, axis=2, tiles=2),
    _tile("once", "tiles: 1", 2, 3, axis=1, tiles=1),
    _tile("5-D", "tiles: 2 axis: 3", 1, 2, 1, 2, 2, axis=3, tiles=2),
]


def nothing(bottoms, params):
    return []


CASES = [
    Case("split", 'type: "Split"', (normal(2, 3),), partial(same, times=3), tops=3),
    Case("silence", 'type: "Silence"', (normal(2, 3),), nothing, tops=0, differentiable=False),
    Case("silence of two", 'type: "Silence"', (normal(2, 3), normal(4)), nothing, tops=0,
         differentiable=False),
    *CONCATS, *SLICES, *FLATTENS, *RESHAPES, *CROPS, *TILES,
]  # fmt: skip


def _rows(type_: str, field: str, *rows: tuple) -> list[tuple]:
    return [
        (type_, f"{field} {{ {text} }}", shapes, tops, says) for text, shapes, tops, says in rows
    ]


_BLOCK = [(2, 3, 4)]
MISTAKES = [
    ("Split", "", [(1,)], 0, "top blob.s., found 0"),
    ("Silence", "", [], 0, "bottom blob.s., found 0"),
    ("Silence", "", [(2,)], 1, "expected 0 top blob.s., found 1"),
    *_rows(
        "Concat", "concat_param",
        ("", [], 1, "bottom blob.s., found 0"),
        ("axis: 2", [(2, 3), (2, 3)], 1, r"axis 2 is not in a bottom of shape \[2, 3\]"),
        ("axis: -3", [(2, 3)], 1, "axis -3 is not in"),
        ("concat_dim: 2", [(2, 3)], 1, "axis 2 is not in"),
        ("concat_dim: 4294967295", [(2, 3)], 1, "concat_dim is 4294967295; the most is 2147483647"),
        ("axis: 1 concat_dim: 1", [(2, 3)], 1, "either axis or concat_dim, not both"),
        ("", [(2, 3), (1, 3)], 1, r"same shape but for axis 1, found \[2, 3\] and \[1, 3\]"),
        ("", [(2, 3), (2, 3, 1)], 1, r"found \[2, 3\] and \[2, 3, 1\]"),
    ),
    *_rows(
        "Slice", "slice_param",
        ("", [(2, 4)], 0, "top blob.s., found 0"),
        ("axis: 2", [(2, 4)], 2, "axis 2 is not in"),
        ("slice_dim: 2", [(2, 4)], 2, "axis 2 is not in"),
        ("slice_dim: 1 axis: 1", [(2, 4)], 2, "either axis or slice_dim, not both"),
        ("", [(2, 3)], 2, r"axis 1 of the bottom \[2, 3\] does not divide into 2 tops"),
        ("", [(2, 1)], 2, "does not divide into 2 tops"),
        ("slice_point: 1 slice_point: 2", [(2, 4)], 2, r"2 tops need 1 slice_point, found 2"),
        ("slice_point: 1", [(2, 4)], 1, "1 tops need 0 slice_point, found 1"),
        ("slice_point: 2 slice_point: 1", [(2, 4)], 3, r"must rise .* found \[2, 1\]"),
        ("slice_point: 0", [(2, 4)], 2, r"must rise and lie within axis 1 .* found \[0\]"),
        ("slice_point: 4", [(2, 4)], 2, r"lie within axis 1 of the bottom \[2, 4\]"),
        ("slice_point: 5", [(2, 4)], 2, "lie within axis 1"),
    ),
    *_rows(
        "Flatten", "flatten_param",
        ("axis: 3", _BLOCK, 1, "axis 3 is not in"),
        ("end_axis: 3", _BLOCK, 1, "axis 3 is not in"),
        ("axis: 2 end_axis: 0", _BLOCK, 1, "axis 2 lies behind end_axis 0"),
        ("", [(3,)], 1, "axis 1 is not in"),
    ),
    *_rows(
        "Reshape", "reshape_param",
        ("", _BLOCK, 1, r"has 24 values, the top \[\] would have 1"),
        ("shape { dim: 5 }", _BLOCK, 1, r"has 24 values, the top \[5\] would have 5"),
        ("shape { dim: 5 dim: -1 }", _BLOCK, 1, "24 values, which do not divide by the 5"),
        ("shape { dim: 0 dim: -1 dim: 7 }", _BLOCK, 1, "do not divide by the 14"),
        ("shape { dim: -1 dim: 0 } num_axes: 1", _BLOCK, 1, "do not divide by the 36"),
        ("shape { dim: -1 dim: -1 }", _BLOCK, 1, r"and -1 once, found \[-1, -1\]"),
        ("shape { dim: -2 dim: 12 }", _BLOCK, 1, r"and -1 once, found \[-2, 12\]"),
        ("shape { dim: 0 dim: 0 dim: 0 dim: 0 }", _BLOCK, 1, "has no axis to copy"),
        ("shape { dim: 0 } axis: 3", _BLOCK, 1, r"a 0 in shape \[0\] from axis 3 on has no axis"),
        ("shape { dim: 1 } axis: 4", _BLOCK, 1, "axis 4 is not in"),
        ("shape { dim: 1 } axis: -5", _BLOCK, 1, "axis -5 is not in"),
        ("shape { dim: -1 } num_axes: -2", _BLOCK, 1, "or -1 for all, found -2"),
        ("shape { dim: -1 } axis: 1 num_axes: 3", _BLOCK, 1, "3 from axis 1 on are more than"),
    ),
    *_rows(
        "Crop", "crop_param",
        ("", _BLOCK, 1, "2 bottom blob.s., found 1"),
        ("axis: 3", [(2, 3, 4)] * 2, 1, "axis 3 is not in"),
        ("axis: 1 offset: 0 offset: 0 offset: 0", [(2, 3, 4)] * 2, 1,
         r"offset is given 3 times for the 2 axes of \[2, 3, 4\] from axis 1 on"),
        ("", [(2, 3, 4), (2, 3)], 1, r"as many axes as the first one \[2, 3, 4\], found \[2, 3\]"),
        ("", [(2, 3, 4), (2, 3, 5)], 1, "reach beyond the first one"),
        ("offset: 2", [(2, 3, 4), (2, 3, 3)], 1, r"the offsets \[2\] and the second bottom"),
        ("offset: 2147483647", [(2, 3, 4), (2, 3, 3)], 1, "reach beyond"),
    ),
    *_rows(
        "Tile", "tile_param",
        ("", [(2, 3)], 1, "tiles must be given, and be at least 1"),
        ("tiles: 0", [(2, 3)], 1, "tiles must be"),
        ("tiles: -1", [(2, 3)], 1, "tiles must be"),
        ("tiles: 2 axis: 2", [(2, 3)], 1, "axis 2 is not in"),
    ),
]  # fmt: skip
