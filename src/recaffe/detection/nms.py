"""Non-maximum suppression: of boxes that overlap, the one of the highest score."""

from __future__ import annotations

import torch
from torch import Tensor

from recaffe.detection.boxes import overlaps

# What is held at once is this many boxes' overlaps, with each other and with those that are kept.
_BLOCK = 1024


def nms(boxes: Tensor, scores: Tensor, threshold: float, most: int | None = None) -> Tensor:
    """The indices of the boxes that are kept, from the highest score to the lowest.

    From the highest score on a box is kept unless its intersection over union with one kept before
    is **greater** than ``threshold``; one of just the threshold is kept. Of equal scores the
    earlier box comes first. Overlaps are computed in the boxes' precision.

    py-faster-rcnn decides so on a GPU, which it uses by default, and in its Python version;
    its Cython version for the CPU also drops boxes of just the threshold.

    Shapes: boxes ``(N, 4)``; scores ``(N,)``; the result ``(K,)``, int64.

    Args:
        most: how many are kept at most.

    Source: ``nms_kernel.cu`` and ``py_cpu_nms.py`` of py-faster-rcnn.
    """
    most = len(boxes) if most is None else most
    order = scores.argsort(descending=True, stable=True)
    kept = order[:0]
    for block in order.split(_BLOCK):
        if len(kept) >= most:
            break
        left = block[~(overlaps(boxes[kept], boxes[block]) > threshold).any(0)]
        kept = torch.cat([kept, left[_survivors(boxes[left], threshold)]])
    return kept[:most]


def _survivors(boxes: Tensor, threshold: float) -> Tensor:
    """Which of the boxes, by descending score, are kept among themselves, shape ``(N,)``.

    A box is kept if and only if no kept one before it suppresses it. Started from all boxes, that
    rule settles at least one more box each time, first to last, so it ends; of real
    boxes it needs a few rounds, each for all boxes at once.
    """
    suppresses = (overlaps(boxes, boxes) > threshold).triu(1).float()
    kept = torch.ones(len(boxes), dtype=torch.bool, device=boxes.device)
    while True:
        found = kept.float() @ suppresses == 0
        if torch.equal(found, kept):
            return kept
        kept = found
