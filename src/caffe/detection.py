"""Detecting with Faster R-CNN's nets, as py-faster-rcnn's ``fast_rcnn.test`` does.

Not a module of pycaffe's. Images are arrays ``(H, W, 3)``, BGR, uint8, as OpenCV reads them; boxes
``(x1, y1, x2, y2)`` in pixels from 0, both corners included.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from caffe.net import Net
from recaffe.detection import folding
from recaffe.detection.boxes import apply_deltas, clip
from recaffe.detection.images import MAX_SIZE, MEAN, SCALE, prepare
from recaffe.detection.nms import nms
from recaffe.errors import NetError

_INPUTS = ("data", "im_info")
_OUTPUTS = ("rois", "cls_prob", "bbox_pred")


class Found(NamedTuple):
    """One object: its class' number, from 1, its probability, and its box."""

    label: int
    score: float
    box: tuple[float, float, float, float]


def im_detect(
    net: Net,
    image: np.ndarray,
    scale: float = SCALE,
    max_size: float = MAX_SIZE,
    mean: Sequence[float] = MEAN,
) -> tuple[np.ndarray, np.ndarray]:
    """The probabilities ``(R, K)`` of K classes in R regions, and the boxes of each ``(R, 4 K)``.

    ``net`` takes ``data`` and ``im_info`` and gives ``rois``, ``cls_prob`` and ``bbox_pred``, as
    published test nets do. See :func:`recaffe.detection.images.prepare` for the others.

    Raises:
        NetError: the net has no such blobs.

    Source: ``im_detect`` in ``fast_rcnn/test.py`` of py-faster-rcnn.
    """
    if missing := [name for name in (*_INPUTS, *_OUTPUTS) if name not in net.blobs]:
        raise NetError(
            f"the net has no blob '{missing[0]}'; a detector's test net has "
            f"{', '.join((*_INPUTS, *_OUTPUTS))}"
        )
    pixels, factor = prepare(image.transpose(2, 0, 1), scale, max_size, mean)
    info = np.array([[*pixels.shape[2:], factor]], np.float32)
    for name, value in zip(_INPUTS, (pixels, info), strict=True):
        net.blobs[name].reshape(*value.shape)
        net.blobs[name].data[...] = value
    net.forward()
    rois, scores, moves = (torch.from_numpy(net.blobs[name].data.copy()) for name in _OUTPUTS)
    boxes = apply_deltas(rois[:, 1:5] / factor, moves.flatten(1))
    height, width = image.shape[:2]
    return scores.flatten(1).numpy(), clip(boxes, height, width).numpy()


def choose(
    scores: np.ndarray,
    boxes: np.ndarray,
    threshold: float = 0.05,
    overlap: float = 0.3,
    most: int = 100,
) -> list[Found]:
    """The objects of what :func:`im_detect` gave, by descending score.

    Of each class those boxes of a probability above ``threshold`` that overlap with no better one
    of the class by more than ``overlap``; of all classes the best ``most``.

    Source: ``test_net`` in ``fast_rcnn/test.py`` of py-faster-rcnn.
    """
    found: list[Found] = []
    for label in range(1, scores.shape[1]):
        (places,) = np.nonzero(scores[:, label] > threshold)
        values, own = scores[places, label], boxes[places, 4 * label : 4 * label + 4]
        kept = nms(torch.from_numpy(own), torch.from_numpy(values), overlap).tolist()
        found += [Found(label, float(values[index]), tuple(own[index].tolist())) for index in kept]
    return sorted(found, key=lambda one: -one.score)[:most]


def unfold(net: Net, loaded: Collection[str]) -> list[str]:
    """Bring a published detector's ``bbox_pred`` back to what is trained.

    Args:
        net: the net to train, after ``copy_from``.
        loaded: the layers whose weights were loaded.

    Returns:
        The layers that this concerned; see :mod:`recaffe.detection.folding`.
    """
    return folding.unfold(net._runtime, loaded)


def publish(net: Net, path: str | Path) -> None:
    """Save the weights of a net that is trained as detectors are published.

    As a solver's snapshots are; see :mod:`recaffe.detection.folding`.
    """
    with folding.folded(net._runtime):
        net.save(path)
