"""Traps of BatchNorm."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Optional

import numpy as np

from caffetools.preflight.finding import ERROR, WARNING, Finding
from caffetools.prototxt import TEST, TRAIN, consumers, phase_view

_SMALL_BATCH = 8


def normalization(
    net: Any, weights: Optional[Mapping[str, Sequence[np.ndarray]]], batch_size: int
) -> Iterator[Finding]:
    """Statistics that are missing, wasted, or moved by too small batches."""
    for layer in phase_view(net, TEST):
        if _says(layer, False):
            yield Finding(
                ERROR, "batch-norm", f"layer {layer.name!r}",
                "use_global_stats is false in phase TEST too: an image's answer would depend on "
                "the others of its batch",
                "leave use_global_stats out, or say it of phase TRAIN alone",
            )  # fmt: skip
    moving = []
    for layer in phase_view(net, TRAIN):
        if layer.type != "BatchNorm":
            continue
        yield from _statistics(layer, weights)
        yield from _scaled(layer, phase_view(net, TRAIN))
        if not _says(layer, True):
            moving.append(layer.name)
        if any(spec.lr_mult for spec in layer.param if spec.HasField("lr_mult")):
            yield Finding(
                ERROR, "batch-norm", f"layer {layer.name!r}",
                "its statistics have an lr_mult; no gradient moves them, and BVLC's build refuses "
                "it",
                "say lr_mult: 0 of all three",
            )  # fmt: skip
    if moving and batch_size < _SMALL_BATCH:
        yield Finding(
            WARNING, "batch-norm", f"{len(moving)} BatchNorm layers",
            f"they normalize by batches of {batch_size}, whose statistics are noise, and learn "
            "them; iter_size does not help, since each batch is normalized by itself",
            "freeze the statistics (batch_norm: freeze), or take larger batches",
        )  # fmt: skip


def _says(layer: Any, value: bool) -> bool:
    parameter = layer.batch_norm_param
    told = layer.type == "BatchNorm" and parameter.HasField("use_global_stats")
    return bool(told and parameter.use_global_stats is value)


def _statistics(
    layer: Any, weights: Optional[Mapping[str, Sequence[np.ndarray]]]
) -> Iterator[Finding]:
    place = f"layer {layer.name!r}"
    if weights is None or layer.name not in weights:
        if _says(layer, True):
            yield Finding(
                ERROR, "batch-norm", place,
                "use_global_stats is true in phase TRAIN, and there are no statistics to load: it "
                "would divide by nothing",
                "give weights, or leave use_global_stats out",
            )  # fmt: skip
        return
    blobs = weights[layer.name]
    if len(blobs) == 3 and not np.any(blobs[2]):
        yield Finding(
            ERROR, "batch-norm", place,
            "the weights hold no statistics: its third blob, which the others are divided by, is 0",
            "take weights of a net that was trained",
        )  # fmt: skip


def _scaled(layer: Any, layers: Sequence[Any]) -> Iterator[Finding]:
    place = next(index for index, each in enumerate(layers) if each is layer)
    behind = consumers(layers[place + 1 :], layer.top[0])
    if not behind or behind[0].type != "Scale":
        yield Finding(
            WARNING, "batch-norm", f"layer {layer.name!r}",
            "no Scale layer follows; Caffe's BatchNorm has no factor and shift of its own",
            "add a Scale layer with bias_term: true, unless the published net has none",
        )  # fmt: skip
