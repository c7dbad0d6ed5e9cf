"""Keeping layers from learning."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Any

from caffetools import prototxt
from caffetools.cli import ToolError
from caffetools.params import complete_params, learns, shared_blobs
from caffetools.prototxt import copy_net


def freeze(net: Any, patterns: Iterable[str], heads: Collection[str] = ()) -> Any:
    """The net with lr_mult and decay_mult 0 for every blob of the layers that match.

    A pattern is a layer's name or has ``*``, ``?`` and ``[...]`` as file names do; it is
    held against the layers that learn, without ``heads``, so that ``*`` freezes all but
    those. BatchNorm's statistics go on following the data, whatever lr_mult says.
    """
    frozen = _matching(net, list(patterns), heads)
    for name, layers in shared_blobs(net).items():
        learning = layers - frozen
        if learning and learning != layers:
            raise ToolError(
                f"blob {name!r} is shared by {', '.join(sorted(layers))}; a frozen layer "
                f"cannot share it with one that learns: freeze {', '.join(sorted(learning))} too"
            )
    patched = copy_net(net)
    for layer in patched.layer:
        if layer.name in frozen:
            complete_params(layer)
            for spec in layer.param:
                spec.lr_mult = 0
                spec.decay_mult = 0
    if frozen and not any(learns(layer) or layer.name in heads for layer in patched.layer):
        raise ToolError(
            "with these layers frozen no layer of the net learns; leave one of them out of "
            f"freeze: {', '.join(sorted(frozen))}"
        )
    return patched


def _matching(net: Any, patterns: Sequence[str], heads: Collection[str]) -> set[str]:
    learnable = [
        layer.name
        for layer in net.layer
        if prototxt.learnable_blobs(layer) and layer.name not in heads
    ]
    matching: set[str] = set()
    for pattern in patterns:
        # A name may hold a glob's characters, so it counts as a name first.
        named = [pattern] if pattern in learnable else []
        matched = named or [name for name in learnable if fnmatchcase(name, pattern)]
        if not matched:
            raise ToolError(
                f"freeze: {pattern!r} {_why_not_frozen(net, pattern, heads)}. "
                f"What can be frozen: {', '.join(dict.fromkeys(learnable))}"
            )
        matching.update(matched)
    return matching


def _why_not_frozen(net: Any, pattern: str, heads: Collection[str]) -> str:
    if pattern in heads:
        return "is replaced by a new head, which has everything to learn"
    if any(layer.name == pattern for layer in net.layer):
        return "is a layer without anything to learn"
    return "matches no layer that learns"
