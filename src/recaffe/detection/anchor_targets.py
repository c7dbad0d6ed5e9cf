"""What a region proposal network learns from an image: labels and targets of its anchors."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from recaffe.detection.anchors import shifted_anchors
from recaffe.detection.boxes import check_truths, closest, deltas, overlaps
from recaffe.detection.sampling import sample

POSITIVE, NEGATIVE, IGNORED = 1.0, 0.0, -1.0


class AnchorTargets(NamedTuple):
    """Of A anchors in each cell of a feature map of H by W cells.

    Attributes:
        labels: ``(1, 1, A H, W)``: 1 positive, 0 negative, -1 for neither.
        targets: ``(1, 4 A, H, W)``: how far it is to the closest ground truth; 0 outside the image.
        inside_weights: of that shape; 1 for positives, else 0.
        outside_weights: of that shape; 1 / number of examples for positives and negatives, else 0.
    """

    labels: Tensor
    targets: Tensor
    inside_weights: Tensor
    outside_weights: Tensor


def anchor_targets(
    base: Tensor,
    height: int,
    width: int,
    truths: Tensor,
    im_info: Tensor,
    stride: float,
    generator: torch.Generator,
    *,
    allowed_border: float = 0,
    negative_overlap: float = 0.3,
    positive_overlap: float = 0.7,
    batch_size: int = 256,
    positive_fraction: float = 0.5,
) -> AnchorTargets:
    """Which anchors of an image are examples, and what they are to be told.

    Only anchors within the image, up to ``allowed_border`` pixels outside of it, are examples. Of
    these are negative those of an overlap below ``negative_overlap`` with every ground truth;
    then positive, even if they were negative, the best of each ground truth, all
    of them where several are equally good, and those of ``positive_overlap`` or more with any.
    A ground truth that no such anchor overlaps has all of them as its best, as published. Of
    positives more than ``positive_fraction`` of a batch are left out at random, and of negatives
    what is more than the rest of the batch. Without any ground truth all are negative. Overlaps
    and targets are computed in double precision, and given in single.

    Args:
        base: the anchors of the first cell, ``(A, 4)``.
        height, width: of the feature map, in cells.
        truths: ground truth boxes and classes, ``(G, 5)``.
        im_info: height and width of the image, and its scale, which is not read: ``(1, 3)``.
        stride: from cell to cell, in pixels.
        generator: of the device of ``truths``.

    Raises:
        LayerError: ground truth that is no boxes.

    Source: ``anchor_target_layer.py`` of py-faster-rcnn; Ren et al. 2015.
    """
    check_truths(truths)
    boxes = truths[:, :4].double()
    anchors = shifted_anchors(base.to(boxes), height, width, stride)
    image_height, image_width = im_info.reshape(-1)[:2].tolist()
    ends = anchors.new_tensor([image_width, image_height]) + allowed_border
    within = (anchors[:, :2] >= -allowed_border).all(1) & (anchors[:, 2:] < ends).all(1)
    (where,) = within.nonzero(as_tuple=True)

    labels = anchors.new_full((len(anchors),), IGNORED)
    targets = torch.zeros_like(anchors)
    if len(boxes) and len(where):
        shared = overlaps(anchors[where], boxes)
        greatest, nearest = closest(shared)
        found = torch.full_like(greatest, IGNORED)
        found[greatest < negative_overlap] = NEGATIVE
        found[(shared == shared.amax(0)).any(1)] = POSITIVE
        found[greatest >= positive_overlap] = POSITIVE
        labels[where] = found
        targets[where] = deltas(anchors[where], boxes[nearest])
    else:
        labels[where] = NEGATIVE

    positives = _limit(labels, POSITIVE, int(positive_fraction * batch_size), generator)
    negatives = _limit(labels, NEGATIVE, batch_size - positives, generator)
    inside = (labels == POSITIVE).double()[:, None].expand(-1, 4)
    examples = (labels != IGNORED).double()[:, None].expand(-1, 4)
    outside = examples / max(positives + negatives, 1)
    maps = [
        _as_map(values, len(base), height, width)
        for values in (labels[:, None], targets, inside, outside)
    ]
    return AnchorTargets(maps[0].reshape(1, 1, len(base) * height, width), *maps[1:])


def _limit(labels: Tensor, value: float, most: int, generator: torch.Generator) -> int:
    """Leave at most that many labels of ``value``, the others ignored; how many there are then."""
    (having,) = (labels == value).nonzero(as_tuple=True)
    kept = sample(having, most, generator)
    labels[having] = IGNORED
    labels[kept] = value
    return len(kept)


def _as_map(values: Tensor, anchors: int, height: int, width: int) -> Tensor:
    """What stands anchor by anchor, cell by cell, as channels of a feature map."""
    cells = values.reshape(height, width, anchors * values.shape[1])
    return cells.permute(2, 0, 1)[None].float().contiguous()
