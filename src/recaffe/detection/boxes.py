"""Boxes: areas, overlaps, and the differences between two that a net learns.

A box is ``(x1, y1, x2, y2)`` in pixels. Both corners belong to it, so that it is
``x2 - x1 + 1`` wide, as VOC counts.
"""

from __future__ import annotations

import torch
from torch import Tensor

from recaffe.errors import LayerError


def sizes(boxes: Tensor) -> Tensor:
    """Width and height of boxes ``(..., 4)``, shape ``(..., 2)``."""
    return boxes[..., 2:] - boxes[..., :2] + 1


def overlaps(boxes: Tensor, others: Tensor) -> Tensor:
    """Intersection over union of each of N boxes with each of M, shape ``(N, M)``.

    ``|a and b| / (|a| + |b| - |a and b|)``; 0 for boxes that share no pixel, and for those whose
    second corner lies before the first.

    Shapes: ``(N, 4)`` and ``(M, 4)``.

    Source: ``bbox.pyx`` of py-faster-rcnn.
    """
    # One axis after the other and in place: these are the largest tensors of a detector's step.
    shared = _shared(boxes, others, 0).mul_(_shared(boxes, others, 1))
    union = (sizes(boxes).prod(1)[:, None] + sizes(others).prod(1)[None]).sub_(shared)
    # Where nothing is shared the union may be 0, or less.
    return torch.where(shared > 0, shared / union, 0.0)


def _shared(boxes: Tensor, others: Tensor, axis: int) -> Tensor:
    """How many pixels each of N boxes shares with each of M along an axis, shape ``(N, M)``."""
    last = torch.minimum(boxes[:, None, axis + 2], others[None, :, axis + 2])
    return (
        last.sub_(torch.maximum(boxes[:, None, axis], others[None, :, axis])).add_(1).clamp_(min=0)
    )


def deltas(boxes: Tensor, targets: Tensor) -> Tensor:
    """How far it is from each box to its target, shape ``(N, 4)``.

    ``((gx - x) / w, (gy - y) / h, log(gw / w), log(gh / h))`` of a box of size ``w`` by ``h`` and
    of centre ``x1 + w / 2``, ``y1 + h / 2``, and its target ``g``.

    Shapes: both ``(N, 4)``.

    Source: ``bbox_transform.py`` of py-faster-rcnn; Girshick et al. 2014, appendix C.
    """
    own, wanted = sizes(boxes), sizes(targets)
    moved = targets[:, :2] + wanted / 2 - boxes[:, :2] - own / 2
    return torch.cat([moved / own, (wanted / own).log()], 1)


def apply_deltas(boxes: Tensor, moves: Tensor) -> Tensor:
    """Each box moved and scaled once for each of K classes, shape ``(N, 4 K)``.

    The centre becomes ``x + dx w``, the width ``w exp(dw)``, and so for the height. The corners are
    half of the new size before and after the centre, so that the second is one pixel
    further than :func:`deltas` would have it: so it was published, and so nets were evaluated.

    Shapes: boxes ``(N, 4)``; moves ``(N, 4 K)``, four for each class.

    Source: ``bbox_transform.py`` of py-faster-rcnn.
    """
    own = sizes(boxes)[:, None]
    moves = moves.unflatten(1, (-1, 4))
    centres = boxes[:, None, :2] + own / 2 + moves[..., :2] * own
    halves = own * moves[..., 2:].exp() / 2
    return torch.cat([centres - halves, centres + halves], 2).flatten(1)


def clip(boxes: Tensor, height: float, width: float) -> Tensor:
    """The boxes ``(N, 4 K)`` with all corners in an image of that many pixels."""
    corners = boxes.unflatten(1, (-1, 2))
    last = corners.new_tensor([width - 1, height - 1])
    return torch.minimum(corners, last).clamp(min=0).flatten(1)


def check_truths(truths: Tensor) -> None:
    """Refuse ground truth ``(G, 5)``, of corners and class, that is no boxes.

    Raises:
        LayerError: another shape, or corners from which no target follows.
    """
    if truths.dim() != 2 or truths.shape[1] != 5:
        raise LayerError(
            "expected ground truth boxes (G, 5) of x1, y1, x2, y2 and class, found "
            f"{list(truths.shape)}"
        )
    bad = ~((truths[:, 2:4] >= truths[:, :2]).all(1) & truths.isfinite().all(1))
    if bad.any():
        found = ", ".join(f"{value:g}" for value in truths[bad][0].tolist())
        raise LayerError(
            f"ground truth box {int(bad.nonzero()[0])} is ({found}); expected finite numbers x1, "
            "y1, x2, y2 and class, the second corner not before the first"
        )


def closest(shared: Tensor) -> tuple[Tensor, Tensor]:
    """Of overlaps ``(N, G)``, ``G > 0``, the greatest of each row and its first column."""
    index = shared.argmax(1)
    return shared.gather(1, index[:, None])[:, 0], index
