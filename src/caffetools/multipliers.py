"""Setting the lr_mult or decay_mult of layers, by name or pattern."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Union

from caffetools import prototxt
from caffetools.cli import ToolError
from caffetools.freezing import why_it_does_not_learn
from caffetools.params import complete_params, shared_blobs
from caffetools.patterns import values_by_name
from caffetools.prototxt import copy_net

Value = Union[float, Sequence[float]]


def set_multipliers(
    net: Any,
    field: str,
    values: Mapping[str, Value],
    heads: Collection[str] = (),
    frozen: Collection[str] = (),
) -> Any:
    """The net with ``field`` (lr_mult or decay_mult) of layers as ``values`` by pattern tell.

    A number is for the layer's weight, and its other blobs change in proportion: a bias
    that learned twice as fast still does. A list has a number for each blob. Patterns are
    held against the layers that have something to learn, without ``heads`` and ``frozen``
    ones, and without BatchNorm, whose blobs are statistics.
    """
    names = [
        layer.name
        for layer in net.layer
        if layer.name not in (*heads, *frozen)
        and prototxt.learnable_blobs(layer)
        and layer.type != "BatchNorm"
    ]

    def why_not(pattern: str) -> str:
        if pattern in frozen:
            return "is frozen"
        if any(layer.name == pattern and layer.type == "BatchNorm" for layer in net.layer):
            return "is a BatchNorm, which no gradient moves"
        return why_it_does_not_learn(net, pattern, heads)

    by_name = values_by_name(field, values, names, why_not)
    patched = copy_net(net)
    for layer in patched.layer:
        if layer.name in by_name:
            complete_params(layer)
            _set(layer, field, by_name[layer.name])
    _require_agreement(patched, field)
    return patched


def _set(layer: Any, field: str, value: Value) -> None:
    before = [getattr(spec, field) for spec in layer.param]
    if isinstance(value, Sequence):
        if len(value) != len(before):
            raise ToolError(
                f"{field}: {len(value)} numbers for layer {layer.name!r}, which learns "
                f"{len(before)} blobs; expected one for each, or one number"
            )
        after = list(value)
    else:
        after = [value * (old / before[0]) if before[0] else value for old in before]
    for spec, number in zip(layer.param, after):
        setattr(spec, field, number)


def _require_agreement(net: Any, field: str) -> None:
    for name, layers in shared_blobs(net).items():
        told = {
            getattr(spec, field)
            for layer in net.layer
            for spec in layer.param
            if spec.name == name and spec.HasField(field)
        }
        if len(told) > 1:
            raise ToolError(
                f"{field}: blob {name!r} is shared by {', '.join(sorted(layers))}, so they "
                f"must agree on it; found {', '.join(map(str, sorted(told)))}"
            )
