"""Drawn nets with a mistake in them, or just with another setting.

One thing is changed in the drawn layer or in a shape before it. Many such nets make no
sense: BVLC's build aborts on them, and ours must raise. Those that make sense must give the
same numbers.
"""

from __future__ import annotations

import zlib
from dataclasses import replace
from typing import Any

import numpy as np
from google.protobuf import text_format

from caffe.proto import caffe_pb2
from differential.draw import NetCase, Random, chance, draw_net, integer, pick

_NUMBERS = (-3, -2, -1, 0, 1, 2, 3, 4, 7)


def mutate_net(type_: str, number_: int) -> NetCase:
    """Case ``number_`` of a layer type with something changed; the same for ever."""
    case = draw_net(type_, number_)
    random = np.random.Generator(np.random.PCG64(zlib.crc32(f"{case.name} mutated".encode())))
    net = text_format.Parse(case.net, caffe_pb2.NetParameter())
    layer = next(layer for layer in net.layer if layer.name == "it")
    inputs = [layer for layer in net.layer if layer.type == "Input"]
    change = pick(random, _change_setting, _change_setting, _change_setting, _change_wiring)
    if inputs and chance(random, 0.35):
        _change_shape(random, pick(random, *inputs))
    else:
        change(random, layer)
    values = {
        name: array if array.shape == (now := _shape(net, name)) else _refill(random, array, now)
        for name, array in case.values.items()
    }
    text = text_format.MessageToString(net)
    return replace(case, name=f"{case.name} mutated", net=text, values=values)


def _shape(net: Any, name: str) -> tuple[int, ...]:
    layer = next(layer for layer in net.layer if layer.name == name)
    return tuple(layer.input_param.shape[0].dim)


def _refill(random: Random, array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Values of the kind that were there: labels stay labels."""
    if array.size and (array == array.round()).all():
        return random.choice(array.ravel(), size=shape).astype(np.float32)
    if array.min() > 0:
        # A logarithm's or a root's: beyond where they are defined nothing is to be compared.
        return random.uniform(array.min(), array.max(), size=shape).astype(np.float32)
    return random.normal(size=shape).astype(np.float32)


def _change_shape(random: Random, layer: Any) -> None:
    dims = list(layer.input_param.shape[0].dim)
    how = pick(random, "longer", "other", "fewer axes", "more axes")
    if how == "fewer axes" and dims:
        dims.pop(integer(random, 0, len(dims) - 1))
    elif how == "more axes" or not dims:
        dims.insert(integer(random, 0, len(dims)), integer(random, 1, 3))
    else:
        at = integer(random, 0, len(dims) - 1)
        dims[at] = dims[at] + 1 if how == "longer" else integer(random, 1, 6)
    layer.input_param.shape[0].dim[:] = dims


def _change_wiring(random: Random, layer: Any) -> None:
    how = pick(random, "bottom less", "bottom twice", "top less", "top more", "in place")
    if how == "bottom less" and layer.bottom:
        del layer.bottom[integer(random, 0, len(layer.bottom) - 1)]
    elif how == "bottom twice" and layer.bottom:
        layer.bottom.append(layer.bottom[integer(random, 0, len(layer.bottom) - 1)])
    elif how == "top less" and layer.top:
        del layer.top[-1]
    elif how == "in place" and layer.bottom and layer.top:
        layer.top[0] = layer.bottom[0]
    else:
        layer.top.append("more")
    if len(layer.loss_weight) > len(layer.top):
        del layer.loss_weight[len(layer.top) :]


def _change_setting(random: Random, layer: Any) -> None:
    """Set one field of the layer's own parameter to something."""
    own = [
        field for field, value in layer.ListFields()
        if field.message_type and field.name.endswith("_param") and _settings(value)
    ]  # fmt: skip
    if not own:
        _change_wiring(random, layer)
        return
    message = getattr(layer, pick(random, *own).name)
    field = pick(random, *_settings(message))
    value = _value(random, field)
    if not field.is_repeated:
        setattr(message, field.name, value)
        return
    values = getattr(message, field.name)
    if values and chance(random):
        values[integer(random, 0, len(values) - 1)] = value
    else:
        values.append(value)


def _settings(message: Any) -> list[Any]:
    """The plain fields that BVLC's schema has; ours has those of its forks as well."""
    fields = message.DESCRIPTOR.fields
    return [field for field in fields if field.message_type is None and field.number < 1000]


def _value(random: Random, field: Any) -> Any:
    if field.enum_type:
        # BVLC's build has no engine but CAFFE, and knows none of its forks'.
        values = [value.number for value in field.enum_type.values
                  if field.name != "engine" or value.name in ("DEFAULT", "CAFFE")]  # fmt: skip
        return pick(random, *values)
    if field.cpp_type == field.CPPTYPE_BOOL:
        return chance(random)
    if field.cpp_type in (field.CPPTYPE_UINT32, field.CPPTYPE_UINT64):
        return pick(random, *(number for number in _NUMBERS if number >= 0))
    if field.cpp_type in (field.CPPTYPE_FLOAT, field.CPPTYPE_DOUBLE):
        return pick(random, -1.0, 0.0, 0.5, 1.0, 2.0)
    if field.cpp_type == field.CPPTYPE_STRING:
        return "nothing"
    return pick(random, *_NUMBERS)
