"""Proposals: the regions that a region proposal network's scores and moves stand for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from recaffe.detection.anchors import shifted_anchors
from recaffe.detection.boxes import apply_deltas, clip, sizes
from recaffe.detection.nms import nms
from recaffe.errors import LayerError


class Limits(NamedTuple):
    """How many boxes go into the suppression, and how many come out at most."""

    before: int
    after: int


TRAIN_LIMITS, TEST_LIMITS = Limits(12000, 2000), Limits(6000, 300)


def check_maps(anchors: int, *shapes: Sequence[int]) -> None:
    """Refuse shapes of scores, moves and im_info that do not fit A anchors and each other.

    Raises:
        LayerError: several images, or other numbers of channels, cells or values.
    """
    scores, moves, im_info = (tuple(shape) for shape in shapes)
    if len(scores) != 4 or len(moves) != 4:
        raise LayerError(
            f"expected scores (1, 2 A, H, W) and moves (1, 4 A, H, W), found {list(scores)} and "
            f"{list(moves)}"
        )
    if scores[0] != 1 or moves[0] != 1:
        raise LayerError(
            f"regions are proposed for one image at a time, found {max(scores[0], moves[0])}; "
            "give the net batches of one"
        )
    cells = scores[2:]
    if scores[1] != 2 * anchors or moves != (1, 4 * anchors, *cells):
        raise LayerError(
            f"{anchors} anchors a cell need scores (1, {2 * anchors}, H, W) and moves "
            f"(1, {4 * anchors}, H, W), found {list(scores)} and {list(moves)}"
        )
    if im_info[:1] != (1,) or im_info[1:2] != (3,) or any(axis != 1 for axis in im_info[2:]):
        raise LayerError(f"expected im_info (1, 3) of height, width, scale, found {list(im_info)}")


def propose(
    base: Tensor,
    scores: Tensor,
    moves: Tensor,
    im_info: Tensor,
    stride: float,
    limits: Limits,
    *,
    threshold: float = 0.7,
    min_size: float = 16,
) -> tuple[Tensor, Tensor]:
    """Regions ``(R, 5)`` of item 0 and corners, best first, and their scores ``(R, 1)``.

    Each anchor is moved and cut to the image; boxes of which a side is less than ``min_size``
    pixels of the image before it was scaled, or no number, are left out. Of the others the
    ``limits.before`` of highest score are freed of those that overlap a better one by more
    than ``threshold``, and ``limits.after`` of these are given.

    Shapes: base ``(A, 4)``; scores ``(1, 2 A, H, W)``, those of the background first; moves
    ``(1, 4 A, H, W)``, four for each anchor; im_info ``(1, 3)``: height, width, scale.

    Raises:
        LayerError: shapes that do not fit, or several images.

    Source: ``proposal_layer.py`` of py-faster-rcnn; Ren et al. 2015.
    """
    check_maps(len(base), scores.shape, moves.shape, im_info.shape)
    height, width, scale = im_info.reshape(-1).tolist()
    rows, columns = scores.shape[2:]
    anchors = shifted_anchors(base.to(scores.device), rows, columns, stride).float()
    boxes = apply_deltas(anchors, moves[0].float().permute(1, 2, 0).reshape(-1, 4))
    boxes = clip(boxes, height, width)
    values = scores[0, len(base) :].float().permute(1, 2, 0).flatten()
    (large,) = (sizes(boxes) >= min_size * scale).all(1).nonzero(as_tuple=True)
    order = values[large].argsort(descending=True, stable=True)[: limits.before]
    best = large[order]
    kept = best[nms(boxes[best], values[best], threshold, limits.after)]
    items = boxes.new_zeros((len(kept), 1))
    return torch.cat([items, boxes[kept]], 1), values[kept][:, None]
