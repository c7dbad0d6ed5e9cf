"""How the coordinates of one blob of a NetSpec lie in another's, so that it can be cropped.

A map is ``(axis, scale, shift)``: a place ``x`` of the one blob is ``scale * x + shift`` in the
other, in the axes from ``axis`` on. Layers that leave places as they are have the map
``(None, 1, 0)``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from caffe.net_spec import Function, Top, layers
from recaffe.errors import NetError

Map = tuple[Any, Any, Any]

PASS_THROUGH_LAYERS = [
    "AbsVal",
    "BatchNorm",
    "Bias",
    "BNLL",
    "Dropout",
    "Eltwise",
    "ELU",
    "Log",
    "LRN",
    "Exp",
    "MVN",
    "Power",
    "ReLU",
    "PReLU",
    "Scale",
    "Sigmoid",
    "Split",
    "TanH",
    "Threshold",
]
_IDENTITY: Map = (None, 1, 0)
_LEGACY = ("kernel_h", "kernel_w", "pad_h", "pad_w", "stride_h", "stride_w")


class UndefinedMapException(NetError):  # noqa: N818
    """A layer whose top's coordinates do not follow from its bottom's."""


class AxisMismatchException(NetError):  # noqa: N818
    """Two maps of different axes that were to be made one."""


class CropError(NetError, AssertionError):
    """A blob that cannot be cropped to the places of another."""


class LegacyParamsError(CropError, KeyError):
    """A sliding window whose height and width are given apart."""

    # KeyError shows its argument as repr does.
    __str__ = NetError.__str__


def conv_params(fn: Function) -> tuple[int, np.ndarray, np.ndarray, np.ndarray]:
    """The axis, stride, extent of the kernel and padding of a layer with a sliding window."""
    params = fn.params.get("convolution_param", fn.params)
    if found := [name for name in _LEGACY if name in fn.params]:
        raise LegacyParamsError(
            f"{fn.type_name}: coordinates follow from kernel_size, stride and pad, "
            f"not from {', '.join(found)}"
        )
    kernel = np.array(params["kernel_size"], ndmin=1)
    dilation = np.array(params.get("dilation", 1), ndmin=1)
    stride = np.array(params.get("stride", 1), ndmin=1)
    pad = np.array(params.get("pad", 0), ndmin=1)
    return params.get("axis", 1), stride, (kernel - 1) * dilation + 1, pad


def crop_params(fn: Function) -> tuple[int, np.ndarray]:
    """The axis and the offset of a Crop."""
    params = fn.params.get("crop_param", fn.params)
    return params.get("axis", 2), np.array(params.get("offset", 0), ndmin=1)


def coord_map(fn: Function) -> Map:
    """The map of a layer, from its bottom to its top.

    Raises:
        UndefinedMapException: a layer that has none.
    """
    if fn.type_name in ("Convolution", "Pooling", "Im2col"):
        axis, stride, kernel, pad = conv_params(fn)
        return axis, 1 / stride, (pad - (kernel - 1) / 2) / stride
    if fn.type_name == "Deconvolution":
        axis, stride, kernel, pad = conv_params(fn)
        return axis, stride, (kernel - 1) / 2 - pad
    if fn.type_name == "Crop":
        axis, offset = crop_params(fn)
        return axis - 1, 1, -offset  # the axis before the first that is cropped
    if fn.type_name in PASS_THROUGH_LAYERS:
        return _IDENTITY
    raise UndefinedMapException(f"the coordinates of {fn.type_name} do not follow from its bottom")


def compose(base_map: Map, next_map: Map) -> Map:
    """One map after the other: ``base_map(next_map(x))``.

    Raises:
        AxisMismatchException: they are of different axes.
    """
    (base_axis, scale, shift), (next_axis, next_scale, next_shift) = base_map, next_map
    if None not in (base_axis, next_axis) and base_axis != next_axis:
        raise AxisMismatchException(f"maps of the axes {base_axis} and {next_axis} do not compose")
    axis = next_axis if base_axis is None else base_axis
    return axis, scale * next_scale, scale * next_shift + shift


def inverse(coord_map: Map) -> Map:
    """The map the other way."""
    axis, scale, shift = coord_map
    return axis, 1 / scale, -shift / scale


def coord_map_from_to(top_from: Top, top_to: Top) -> Map:
    """The map between two blobs of a net, by way of a blob that both come from.

    Raises:
        NetError: there is none, or no map that leads there.
    """
    below_from = dict(_maps_of_ancestors(top_from, lambda top: False))
    for top, to_map in _maps_of_ancestors(top_to, below_from.__contains__):
        if top in below_from:
            return compose(to_map, inverse(below_from[top]))
    raise NetError("no map between these blobs; are they connected by spatial layers?")


def _maps_of_ancestors(top: Top, ends: Callable[[Top], bool]) -> Iterator[tuple[Top, Map]]:
    """A blob and those it comes from with their maps to it, as far as there are maps."""
    waiting: list[tuple[Top, Map]] = [(top, _IDENTITY)]
    seen = {top}
    while waiting:
        current, current_map = waiting.pop(0)
        yield current, current_map
        if ends(current):
            return
        try:
            layer_map = coord_map(current.fn) if current.fn.inputs else _IDENTITY
        except UndefinedMapException:
            continue
        for bottom in _mapped_bottoms(current.fn):
            if bottom not in seen:
                seen.add(bottom)
                waiting.append((bottom, compose(current_map, layer_map)))


def _mapped_bottoms(fn: Function) -> tuple[Top, ...]:
    """All of them; of a Crop only the one that is cropped, not the one that gives the size."""
    return fn.inputs[:1] if fn.type_name == "Crop" else fn.inputs


def crop(top_from: Top, top_to: Top) -> Any:
    """A Crop of one blob to the places of another.

    Raises:
        CropError: the other is scaled, or begins before it or between two of its places.
    """
    axis, scale, shift = coord_map_from_to(top_from, top_to)
    if np.any(np.not_equal(scale, 1)):
        raise CropError(f"a Crop does not scale, and the scale is {scale}")
    if np.any(np.greater(shift, 0)) or np.any(np.round(shift) != shift):
        raise CropError(f"a Crop begins at a place of its bottom, and the offset is {-shift}")
    offset = [int(each) for each in np.atleast_1d(-np.asarray(shift))]
    return layers.Crop(top_from, top_to, crop_param={"axis": axis + 1, "offset": offset})
