"""Layers that move values without changing them."""

from __future__ import annotations

from typing import Any

import numpy as np

from caffetools.onnx_export.graph import Layer, exports


@exports("Split")
def split(layer: Layer) -> list[str]:
    """The bottom itself, for every top."""
    return [layer.bottoms[0]] * len(layer.top_shapes)


@exports("Flatten", "Reshape")
def reshape(layer: Layer) -> list[str]:
    """Reshape to the top's shape."""
    return [layer.reshaped(layer.bottoms[0], layer.top_shapes[0])]


@exports("Concat")
def concat(layer: Layer) -> list[str]:
    """Concat along ``axis``, or ``concat_dim`` in old nets."""
    axis = _along(layer, layer.message.concat_param, "concat_dim")
    return [layer.op("Concat", *layer.bottoms, axis=axis)]


@exports("Slice")
def slice_(layer: Layer) -> list[str]:
    """Split along ``axis``, or ``slice_dim`` in old nets, into the lengths that the tops have."""
    axis = _along(layer, layer.message.slice_param, "slice_dim")
    layer.sizes([axis])
    lengths = layer.whole_numbers([int(shape[axis] or 0) for shape in layer.top_shapes])
    return layer.ops("Split", layer.bottoms[0], lengths, outputs=len(layer.top_shapes), axis=axis)


def _along(layer: Layer, parameter: Any, old_name: str) -> int:
    name = old_name if parameter.HasField(old_name) else "axis"
    return layer.axis(getattr(parameter, name))


@exports("Crop")
def crop(layer: Layer) -> list[str]:
    """Slice to the size of the second bottom, from ``offset`` on."""
    parameter = layer.message.crop_param
    start = layer.axis(parameter.axis)
    axes = list(range(start, len(layer.shapes[0])))
    offsets = list(parameter.offset) or [0]
    offsets = offsets if len(offsets) > 1 else offsets * len(axes)
    layer.sizes(axes)
    ends = [offset + int(layer.top_shapes[0][axis] or 0) for axis, offset in zip(axes, offsets)]
    return [_sliced(layer, offsets, ends, axes)]


def _sliced(layer: Layer, starts: list[int], ends: list[int], axes: list[int]) -> str:
    return layer.op("Slice", layer.bottoms[0], *map(layer.whole_numbers, (starts, ends, axes)))


@exports("Tile")
def tile(layer: Layer) -> list[str]:
    """Tile along one axis."""
    times = np.ones(len(layer.shapes[0]), int)
    times[layer.axis(layer.message.tile_param.axis)] = layer.message.tile_param.tiles
    return [layer.op("Tile", layer.bottoms[0], layer.whole_numbers(times.tolist()))]


@exports("Permute")
def permute(layer: Layer) -> list[str]:
    """Transpose; axes that ``order`` leaves out follow in their own order."""
    given = list(layer.message.permute_param.order)
    order = given + [axis for axis in range(len(layer.shapes[0])) if axis not in given]
    return [layer.op("Transpose", layer.bottoms[0], perm=order)]


@exports("ShuffleChannel")
def shuffle_channel(layer: Layer) -> list[str]:
    """The channels as a table of groups, transposed."""
    batch, channels, *places = layer.shapes[0]
    group = layer.message.shuffle_channel_param.group
    table = layer.reshaped(layer.bottoms[0], (batch, group, int(channels or 0) // group, *places))
    order = [0, 2, 1, *range(3, len(places) + 3)]
    return [layer.reshaped(layer.op("Transpose", table, perm=order), layer.shapes[0])]


@exports("Interp")
def interp(layer: Layer) -> list[str]:
    """Resize, linear, between corners that stay corners; first cut as the pads say."""
    parameter = layer.message.interp_param
    begin, end = -parameter.pad_beg, -parameter.pad_end
    image = layer.bottoms[0]
    if begin or end:
        ends = [size - end for size in layer.sizes([2, 3])]
        image = _sliced(layer, [begin, begin], ends, [2, 3])
    size = layer.whole_numbers([int(length or 0) for length in layer.top_shapes[0][2:]])
    return [
        layer.op(
            "Resize", image, "", "", size, axes=[2, 3], mode="linear",
            coordinate_transformation_mode="align_corners",
        )
    ]  # fmt: skip


@exports("Upsample")
def upsample(layer: Layer) -> list[str]:
    """Each value repeated, or put where a pooling layer's mask says."""
    if len(layer.bottoms) == 2:
        return [_put_back(layer)]
    size = layer.whole_numbers([int(length or 0) for length in layer.top_shapes[0][2:]])
    return [
        layer.op(
            "Resize", layer.bottoms[0], "", "", size, axes=[2, 3], mode="nearest",
            coordinate_transformation_mode="asymmetric", nearest_mode="floor",
        )
    ]  # fmt: skip


def _put_back(layer: Layer) -> str:
    from onnx import TensorProto

    values, mask = layer.bottoms
    batch, channels, height, width = layer.top_shapes[0]
    places = int(height or 0) * int(width or 0)
    flat = layer.whole_numbers([0, 0, -1])
    rows = layer.op("Reshape", values, flat)
    index = layer.op("Cast", layer.op("Reshape", mask, flat), to=int(TensorProto.INT64))
    items = layer.op("Shape", values, start=0, end=2)
    shape = layer.op("Concat", items, layer.whole_numbers([places]), axis=0)
    empty = layer.op("Expand", layer.constant(0), shape)
    filled = layer.op("ScatterElements", empty, index, rows, axis=2)
    return layer.reshaped(filled, (batch, channels, height, width))


@exports("Parameter")
def parameter(layer: Layer) -> list[str]:
    """A constant."""
    return [layer.op("Identity", layer.constant(layer.params[0]))]


@exports("Silence")
def silence(layer: Layer) -> list[str]:
    """Nothing."""
    return []
