"""Keeping layers from learning, and BatchNorm's statistics from following the data."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, Optional

from caffetools import batch_norm, prototxt
from caffetools.cli import ToolError
from caffetools.params import complete_params, learns, shared_blobs
from caffetools.patterns import matching
from caffetools.prototxt import TRAIN, copy_net


def freeze(
    net: Any,
    patterns: Iterable[str] = (),
    heads: Collection[str] = (),
    up_to: Optional[str] = None,
    statistics: str = "follow",
) -> Any:
    """The net with lr_mult and decay_mult 0 for every blob of the layers to freeze.

    A pattern is a layer's name or has ``*``, ``?`` and ``[...]`` as file names do; it is
    held against the layers that learn, without ``heads``, so that ``*`` freezes all but
    those. ``up_to`` names a layer that is frozen with all that it depends on.

    ``statistics`` says whose BatchNorm goes on with the statistics that it has: with
    ``"follow"`` that of the frozen layers, with ``"freeze"`` every one, with ``"update"``
    none. Scale layers are frozen with their BatchNorm.
    """
    frozen = to_freeze(net, patterns, heads, up_to, statistics)
    patched = copy_net(net)
    for layer in patched.layer:
        if layer.name in frozen:
            complete_params(layer)
            for spec in layer.param:
                spec.lr_mult = 0
                spec.decay_mult = 0
            if layer.type == "BatchNorm" and statistics != "update":
                layer.batch_norm_param.use_global_stats = True
    if frozen and not any(learns(layer) or layer.name in heads for layer in patched.layer):
        raise ToolError(
            "with these layers frozen no layer of the net learns; leave one of them out of "
            f"freeze: {', '.join(sorted(frozen))}"
        )
    return patched


def to_freeze(
    net: Any,
    patterns: Iterable[str] = (),
    heads: Collection[str] = (),
    up_to: Optional[str] = None,
    statistics: str = "follow",
) -> set[str]:
    """The names of the layers that :func:`freeze` freezes."""
    frozen = _matching(net, patterns, heads)
    if up_to is not None:
        frozen |= _up_to(net, up_to, heads)
    if statistics == "freeze":
        frozen |= batch_norm.names(net)
    if statistics != "update":
        frozen |= batch_norm.followers(net, frozen)
    _refuse_half_shared(net, frozen)
    return frozen


def _matching(net: Any, patterns: Iterable[str], heads: Collection[str]) -> set[str]:
    names = [
        layer.name
        for layer in net.layer
        if prototxt.learnable_blobs(layer) and layer.name not in heads
    ]

    def why_not(pattern: str) -> str:
        return why_it_does_not_learn(net, pattern, heads)

    found = matching("freeze", patterns, names, why_not)
    return {name for matched in found.values() for name in matched}


def why_it_does_not_learn(net: Any, pattern: str, heads: Collection[str]) -> str:
    """Why ``pattern`` names no layer that learns beside the heads."""
    if pattern in heads:
        return "is replaced by a new head, which has everything to learn"
    if any(layer.name == pattern for layer in net.layer):
        return "is a layer without anything to learn"
    return "matches no layer that learns"


def _up_to(net: Any, name: str, heads: Collection[str]) -> set[str]:
    """The learning layers among ``name`` and those that it depends on in training."""
    layers = prototxt.phase_view(net, TRAIN)
    places = [place for place, layer in enumerate(layers) if layer.name == name]
    if not places:
        prototxt.layers_named(net, name)
        raise ToolError(f"freeze_up_to: layer {name!r} has no part in the TRAIN phase")
    if name in heads:
        raise ToolError(
            f"freeze_up_to: {name!r} is replaced by a new head, which has everything to learn; "
            "name a layer before it"
        )
    before = [*prototxt.upstream(layers, places[0]), layers[places[0]]]
    frozen = {layer.name for layer in before if prototxt.learnable_blobs(layer)} - set(heads)
    if not frozen:
        raise ToolError(
            f"freeze_up_to: neither {name!r} nor a layer that it depends on learns; name a "
            "later one, or leave freeze_up_to out"
        )
    return frozen


def _refuse_half_shared(net: Any, frozen: set[str]) -> None:
    for name, layers in shared_blobs(net).items():
        learning = layers - frozen
        if learning and learning != layers:
            raise ToolError(
                f"blob {name!r} is shared by {', '.join(sorted(layers))}; a frozen layer "
                f"cannot share it with one that learns: freeze {', '.join(sorted(learning))} too"
            )
