"""The ``param`` entries of layers: a multiplier pair and perhaps a name for each learnable blob."""

from __future__ import annotations

from typing import Any

from caffetools import prototxt


def complete_params(layer: Any) -> None:
    """Give each learnable blob of the layer its ``param`` entry."""
    while len(layer.param) < prototxt.learnable_blobs(layer):
        layer.param.add()


def learns(layer: Any) -> bool:
    """Whether a blob of the layer has an lr_mult other than 0; where none is written it is 1."""
    if layer.type == "BatchNorm":
        return False
    unwritten = prototxt.learnable_blobs(layer) - len(layer.param)
    return unwritten > 0 or any(spec.lr_mult != 0 for spec in layer.param)


def shared_blobs(net: Any) -> dict[str, set[str]]:
    """The names given to learnable blobs, each with the layers that use it."""
    shared: dict[str, set[str]] = {}
    for layer in net.layer:
        for spec in layer.param:
            if spec.name:
                shared.setdefault(spec.name, set()).add(layer.name)
    return shared
