"""BatchNorm layers, whose blobs no gradient moves: the statistics of what has passed.

In training a BatchNorm normalizes by its batch and moves its statistics towards it, whatever
lr_mult says; only ``use_global_stats`` keeps it to the statistics that it has.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Optional

from caffetools import prototxt
from caffetools.params import complete_params
from caffetools.prototxt import TRAIN, copy_net


def names(net: Any) -> set[str]:
    """The net's BatchNorm layers."""
    return {layer.name for layer in net.layer if layer.type == "BatchNorm"}


def followers(net: Any, frozen: Collection[str]) -> set[str]:
    """The BatchNorm layers right after a frozen layer, and the Scale layers right after those.

    Right after means that no other layer that learns and no second input lies between.
    """
    found: set[str] = set()
    # By blob, the layer that learned it last.
    learned: dict[str, Optional[str]] = {}
    normalizing = names(net)
    for layer in prototxt.phase_view(net, TRAIN):
        before = learned.get(layer.bottom[0]) if len(layer.bottom) == 1 else None
        if before in frozen or before in found:
            is_scale = layer.type == "Scale" and before in normalizing
            if is_scale or (layer.type == "BatchNorm" and before not in normalizing):
                found.add(layer.name)
        for top in layer.top:
            learned[top] = layer.name if prototxt.learnable_blobs(layer) else before
    return found


def still(net: Any) -> Any:
    """The net with lr_mult and decay_mult 0 for the statistics of every BatchNorm.

    BVLC's build refuses another lr_mult; a decay would be 0 times something.
    """
    patched = copy_net(net)
    for layer in patched.layer:
        if layer.type == "BatchNorm":
            complete_params(layer)
            for spec in layer.param:
                spec.lr_mult = 0
                spec.decay_mult = 0
    return patched
