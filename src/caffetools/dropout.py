"""Other ratios for the Dropout layers that a net has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from caffetools.patterns import values_by_name
from caffetools.prototxt import copy_net


def set_ratios(net: Any, ratios: Mapping[str, float]) -> Any:
    """The net with the dropout_ratio of layers as ``ratios`` by name or pattern tell.

    No layer is added. With 0 a Dropout lets everything pass.
    """
    names = [layer.name for layer in net.layer if layer.type == "Dropout"]

    def why_not(pattern: str) -> str:
        types = [layer.type for layer in net.layer if layer.name == pattern]
        return f"is of type {types[0]}" if types else "matches no layer of type Dropout"

    by_name = values_by_name("dropout", ratios, names, why_not)
    patched = copy_net(net)
    for layer in patched.layer:
        if layer.name in by_name:
            layer.dropout_param.dropout_ratio = by_name[layer.name]
    return patched
