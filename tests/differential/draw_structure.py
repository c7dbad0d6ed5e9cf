"""Drawers of layers that move, join, choose or sum values."""

from __future__ import annotations

import math

import numpy as np

from differential.draw import (
    Drawn,
    Random,
    axis_of,
    chance,
    draws,
    integer,
    integers,
    normal,
    number,
    pick,
    some,
    some_shape,
)


@draws("Concat")
def concat(random: Random) -> Drawn:
    shape = list(some_shape(random))
    axis, said = axis_of(random, len(shape))
    bottoms = []
    for _ in range(integer(random, 1, 3)):
        shape[axis] = integer(random, 1, 4)
        bottoms.append(normal(random, shape))
    name = "concat_dim" if said == axis and chance(random, 0.3) else "axis"
    return Drawn(f"concat_param {{ {name}: {said} }}", bottoms, overwritable=len(bottoms) > 1)


@draws("Slice")
def slice_(random: Random) -> Drawn:
    shape = list(some_shape(random))
    axis, said = axis_of(random, len(shape))
    tops = integer(random, 1, 3)
    if chance(random):
        shape[axis] = tops * integer(random, 1, 2)
        points = ""
    else:
        shape[axis] = integer(random, tops, tops + 4)
        cuts = sorted(random.permutation(np.arange(1, shape[axis]))[: tops - 1].tolist())
        points = " ".join(f"slice_point: {cut}" for cut in cuts)
    name = "slice_dim" if said == axis and chance(random, 0.3) else "axis"
    return Drawn(
        f"slice_param {{ {name}: {said} {points} }}", [normal(random, shape)], tops=tops,
        overwritable=tops > 1,
    )  # fmt: skip


@draws("Split")
def split(random: Random) -> Drawn:
    return Drawn(
        "", [normal(random, some_shape(random))], tops=integer(random, 1, 3), overwritable=False
    )


@draws("Flatten")
def flatten(random: Random) -> Drawn:
    shape = some_shape(random)
    axis, said = axis_of(random, len(shape))
    _, end = axis_of(random, len(shape), axis)
    settings = f"axis: {said} end_axis: {end}" if chance(random, 0.8) else ""
    if not settings and len(shape) == 1:
        settings = "axis: 0"
    return Drawn(f"flatten_param {{ {settings} }}", [normal(random, shape)], overwritable=False)


@draws("Reshape")
def reshape(random: Random) -> Drawn:
    shape = some_shape(random, 2)
    axis = integer(random, 0, len(shape) - 1)
    count = integer(random, 1, len(shape) - axis)
    inner = shape[axis : axis + count]
    target = list(random.permutation(inner)) if chance(random) else [math.prod(inner)]
    dims = [int(size) for size in target]
    if chance(random):
        dims[integer(random, 0, len(dims) - 1)] = -1
    dims = [
        0 if at < count and dim == inner[at] and chance(random) else dim
        for at, dim in enumerate(dims)
    ]
    said = pick(random, axis, axis - len(shape) - 1)
    axes = pick(random, count, -1) if axis + count == len(shape) else count
    words = " ".join(f"dim: {dim}" for dim in dims)
    return Drawn(
        f"reshape_param {{ shape {{ {words} }} axis: {said} num_axes: {axes} }}",
        [normal(random, shape)], overwritable=False,
    )  # fmt: skip


@draws("Crop")
def crop(random: Random) -> Drawn:
    shape = some_shape(random, 1, 4, 6)
    axis, said = axis_of(random, len(shape))
    like = [size if at < axis else integer(random, 1, size) for at, size in enumerate(shape)]
    spare = [size - want for size, want in zip(shape, like, strict=True)][axis:]
    offsets = [integer(random, 0, room) for room in spare]
    if chance(random, 0.3):
        offsets = [min(offsets)]
    words = " ".join(f"offset: {offset}" for offset in offsets) if chance(random, 0.8) else ""
    # the second bottom lends its shape alone
    return Drawn(
        f"crop_param {{ axis: {said} {words} }}", [normal(random, shape), normal(random, like)],
        fixed=[1],
    )  # fmt: skip


@draws("Tile")
def tile(random: Random) -> Drawn:
    shape = some_shape(random, 1, 4)
    _, said = axis_of(random, len(shape))
    return Drawn(
        f"tile_param {{ axis: {said} tiles: {integer(random, 1, 3)} }}", [normal(random, shape)]
    )


@draws("Eltwise")
def eltwise(random: Random) -> Drawn:
    shape = some_shape(random)
    bottoms = integer(random, 2, 4)
    operation = pick(random, "SUM", "PROD", "MAX")
    settings = f"operation: {operation}"
    if operation == "SUM" and chance(random):
        settings += "".join(f" coeff: {number(random, -2, 2)}" for _ in range(bottoms))
    if operation == "PROD":
        settings += " " + some(random, stable_prod_grad="false")
    return Drawn(
        f"eltwise_param {{ {settings} }}", [normal(random, shape) for _ in range(bottoms)],
        overwritable="stable_prod_grad" not in settings,
    )  # fmt: skip


@draws("Reduction")
def reduction(random: Random) -> Drawn:
    shape = some_shape(random)
    _, said = axis_of(random, len(shape))
    operation = pick(random, "SUM", "ASUM", "SUMSQ", "MEAN")
    settings = f"operation: {operation} axis: {said} "
    settings += some(random, coeff=number(random, -2, 2))
    # Sums so large that a sigmoid after them is flat would leave nothing but rounding.
    bottom = normal(random, shape) / np.float32(math.sqrt(math.prod(shape)))
    return Drawn(f"reduction_param {{ {settings} }}", [bottom])


@draws("ArgMax")
def argmax(random: Random) -> Drawn:
    shape = some_shape(random, 1, 4)
    settings, size = "", math.prod(shape[1:])
    if chance(random):
        axis, said = axis_of(random, len(shape))
        settings, size = f"axis: {said} ", shape[axis]
    settings += some(random, out_max_val="true", top_k=integer(random, 1, size))
    return Drawn(f"argmax_param {{ {settings} }}", [normal(random, shape)], fixed=[0], smooth=False)


@draws("BatchReindex")
def batch_reindex(random: Random) -> Drawn:
    shape = some_shape(random)
    chosen = integers(random, (integer(random, 1, 6),), shape[0])
    return Drawn("", [normal(random, shape), chosen], fixed=[1])


@draws("Filter")
def filter_(random: Random) -> Drawn:
    items, count = integer(random, 1, 5), integer(random, 1, 3)
    selector = integers(random, (items,), 2)
    # one at least passes; what happens when none does is asked elsewhere
    selector[integer(random, 0, items - 1)] = 1
    bottoms = [normal(random, (items, *some_shape(random, 0, 3))) for _ in range(count)]
    return Drawn("", [*bottoms, selector], fixed=[count], tops=count)


@draws("Silence")
def silence(random: Random) -> Drawn:
    bottoms = [normal(random, some_shape(random)) for _ in range(integer(random, 1, 3))]
    return Drawn("", bottoms, tops=0, smooth=False)


@draws("Parameter")
def parameter(random: Random) -> Drawn:
    dims = " ".join(f"dim: {size}" for size in some_shape(random))
    return Drawn(f"parameter_param {{ shape {{ {dims} }} }}", [], overwritable=False)


@draws("DummyData")
def dummy_data(random: Random) -> Drawn:
    tops = integer(random, 1, 3)
    shapes = [some_shape(random, 1, 4) for _ in range(pick(random, 1, tops))]
    if chance(random, 0.3):
        names = ("num", "channels", "height", "width")
        words = " ".join(
            f"{name}: {integer(random, 1, 4)}" for name in names for _ in range(len(shapes))
        )
    else:
        words = " ".join(
            "shape { " + " ".join(f"dim: {size}" for size in shape) + " }" for shape in shapes
        )
    for _ in range(pick(random, 0, 1, tops)):
        words += f' data_filler {{ type: "constant" value: {number(random, -2, 2)} }}'
    return Drawn(f"dummy_data_param {{ {words} }}", [], tops=tops, smooth=False)
