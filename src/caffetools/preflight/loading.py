"""What loading the weights would do to the net, layer by layer."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from caffetools import prototxt
from caffetools.params import learns
from caffetools.preflight.finding import ERROR, NOTE, WARNING, Finding
from caffetools.preflight.records import some
from caffetools.prototxt import TRAIN, phase_view
from caffetools.weights import same_shape

Blobs = Mapping[str, Sequence[np.ndarray]]
Shapes = Mapping[str, Sequence[tuple[int, ...]]]


def loading(
    net: Any, shapes: Shapes, weights: Blobs, place: str, new_heads: Collection[str]
) -> Iterator[Finding]:
    """Layers that would start fresh, be left out, or do not fit.

    Args:
        net: the NetParameter.
        shapes: of the blobs of each layer of the net in phase TRAIN.
        weights: the blobs of each layer in the file.
        place: the file.
        new_heads: the layers that are meant to start fresh.
    """
    fresh = [name for name in shapes if name not in weights]
    ignored = [name for name in weights if name not in shapes]
    heads = prototxt.heads(net)
    yield from _mismatched(shapes, weights, place, heads)
    yield from _fresh(fresh, ignored, place, new_heads)
    yield from _not_renamed(shapes, weights, place, new_heads)
    yield from _frozen_fresh(net, fresh)
    if ignored:
        yield Finding(NOTE, "loading", place, f"layers that the net does not have: {some(ignored)}")
    if not set(shapes) & set(weights):
        yield Finding(
            ERROR, "loading", place, "none of its layers is in the net: nothing would be loaded",
            "give the weights of this net, or correct the layers' names",
        )  # fmt: skip


def _mismatched(
    shapes: Shapes, weights: Blobs, place: str, heads: Collection[str]
) -> Iterator[Finding]:
    for name in shapes:
        if name not in weights:
            continue
        pairs = list(zip(shapes[name], weights[name]))
        fitting = all(same_shape(shape, blob.shape) for shape, blob in pairs)
        if fitting and len(shapes[name]) == len(weights[name]):
            continue
        found = ", ".join(str(blob.shape) for blob in weights[name])
        expected = ", ".join(map(str, shapes[name]))
        yield Finding(
            ERROR, "head" if name in heads else "loading", f"layer {name!r}",
            f"{place} has blobs {found}, the net {expected}"
            + ("; Caffe loads by name, so a head of other classes needs another name"
               if name in heads else ""),
            "rename the layer" if name in heads
            else "take the weights of this net, or correct the layer",
        )  # fmt: skip


def _fresh(
    fresh: Sequence[str], ignored: Sequence[str], place: str, expected: Collection[str]
) -> Iterator[Finding]:
    for name in fresh:
        if name in expected:
            yield Finding(NOTE, "loading", f"layer {name!r}", "starts fresh, being a new head")
            continue
        near = difflib.get_close_matches(name, ignored, n=1)
        yield Finding(
            ERROR, "loading", f"layer {name!r}",
            f"would start fresh, silently: {place} has no layer of that name"
            + (f"; it has {near[0]!r}, which the net has not" if near else ""),
            f"name it {near[0]!r}" if near else "name it as the weights do, or say that it is new",
        )  # fmt: skip


def _not_renamed(
    shapes: Shapes, weights: Blobs, place: str, new_heads: Collection[str]
) -> Iterator[Finding]:
    for name in new_heads:
        if name in shapes and name in weights:
            yield Finding(
                WARNING, "head", f"layer {name!r}",
                f"{place} has a layer of that name, so this head would not start fresh, but with "
                "the classes of the weights",
                "give the head a name that the weights do not have; to train these classes on, "
                "leave it",
            )  # fmt: skip
        parts = name.split("_")
        if len(parts) > 2 and parts[-1] == parts[-2]:
            yield Finding(
                WARNING, "head", f"layer {name!r}",
                "it looks as if the head had been renamed twice: is the net a patched one already?",
                "patch the published net",
            )  # fmt: skip


def _frozen_fresh(net: Any, fresh: Collection[str]) -> Iterator[Finding]:
    for layer in phase_view(net, TRAIN):
        frozen = layer.param and all(spec.lr_mult == 0 for spec in layer.param)
        complete = len(layer.param) == prototxt.learnable_blobs(layer)
        if layer.name in fresh and layer.type != "BatchNorm" and frozen and complete:
            yield Finding(
                ERROR, "frozen", f"layer {layer.name!r}",
                "it starts fresh and has lr_mult 0, so it stays as its filler made it",
                "let it learn, or load it",
            )  # fmt: skip


def anything_learns(net: Any) -> Iterator[Finding]:
    """A net all of whose layers are frozen."""
    layers = [layer for layer in phase_view(net, TRAIN) if prototxt.learnable_blobs(layer)]
    if layers and not any(map(learns, layers)):
        yield Finding(ERROR, "frozen", "the net", "every layer has lr_mult 0: nothing is learned",
                      "let a layer learn, the head at least")  # fmt: skip
