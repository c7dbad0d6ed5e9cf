"""The loss of the net as training would start, against that of guessing."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Optional

import numpy as np

import caffe
from caffetools import prototxt, scoring
from caffetools.preflight.finding import ERROR, NOTE, WARNING, Finding
from caffetools.prototxt import TRAIN, phase_view

MOST_IMAGES = 16
_CLIPPED = -math.log(np.finfo(np.float32).tiny)  # 87.3365, Caffe's loss of a probability of 0


def first_loss(net: Any, weights: Optional[Path], seed: int) -> Optional[float]:
    """The main loss of one small batch in phase TRAIN; None where there is no such loss.

    ``seed`` draws what the weights leave to the fillers, the crops and the dropout.
    """
    small = prototxt.copy_net(net)
    for layer in phase_view(small, TRAIN):
        if layer.type == "Data":
            layer.data_param.batch_size = min(layer.data_param.batch_size, MOST_IMAGES)
    layers = phase_view(small, TRAIN)
    place = prototxt.main_loss(layers)
    if place is None:
        return None
    caffe.set_random_seed(seed)
    loaded = scoring.load(small, None, TRAIN)
    if weights:
        loaded.copy_from(str(weights))
    loaded.forward()
    return float(loaded.blobs[layers[place].top[0]].data)


def loss_findings(loss: float, classes: int, head_is_fresh: bool) -> Iterator[Finding]:
    """What the first loss tells, ``ln C`` being that of guessing among C classes."""
    guessing = math.log(classes)
    place = "first loss"
    if not math.isfinite(loss) or loss >= 0.99 * _CLIPPED:
        yield Finding(
            ERROR, "first-loss", place,
            f"{loss:.6g}, expected about {guessing:.3f} (ln {classes}): scores are so large that "
            "the right class gets a probability of 0" if math.isfinite(loss)
            else f"it is {loss}, expected about {guessing:.3f} (ln {classes})",
            "see mean and scale of the data layer, the fillers, and the weights",
        )  # fmt: skip
        return
    yield Finding(
        NOTE, "first-loss", place, f"{loss:.3f}; guessing has {guessing:.3f} (ln {classes})"
    )
    if head_is_fresh and loss > 3 * guessing:
        yield Finding(
            WARNING, "first-loss", place,
            f"{loss:.3f} is far above guessing, {guessing:.3f}: a fresh head should not be sure",
            "lower the std of the head's filler, or see mean and scale of the data layer",
        )  # fmt: skip
    if head_is_fresh and loss < 0.3 * guessing:
        yield Finding(
            WARNING, "first-loss", place,
            f"{loss:.3f} is far below guessing, {guessing:.3f}, and nothing was learned yet",
            "see whether the labels reach the scores, and whether all images are of one class",
        )  # fmt: skip
