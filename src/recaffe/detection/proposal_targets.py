"""What the detector learns from proposed regions: a sample, its classes and its targets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from recaffe.detection.boxes import check_truths, closest, deltas, overlaps
from recaffe.detection.sampling import sample
from recaffe.errors import LayerError

MEANS = (0.0, 0.0, 0.0, 0.0)
STDS = (0.1, 0.1, 0.2, 0.2)


class ProposalTargets(NamedTuple):
    """Of R sampled regions and K classes, the background's, 0, included.

    Attributes:
        rois: ``(R, 5)``: item and corners; first the foreground, then the background.
        labels: ``(R,)``: the class.
        targets: ``(R, 4 K)``: the normalised way to the ground truth, at the region's class.
        inside_weights: of that shape; 1 where targets are, else 0.
        outside_weights: the same.
    """

    rois: Tensor
    labels: Tensor
    targets: Tensor
    inside_weights: Tensor
    outside_weights: Tensor


def proposal_targets(
    rois: Tensor,
    truths: Tensor,
    classes: int,
    generator: torch.Generator,
    *,
    batch_size: int = 128,
    foreground_fraction: float = 0.25,
    foreground_overlap: float = 0.5,
    background_overlaps: tuple[float, float] = (0.1, 0.5),
    means: Sequence[float] = MEANS,
    stds: Sequence[float] = STDS,
) -> ProposalTargets:
    """A sample of the regions, and of the ground truth as further regions, with its targets.

    A region is foreground, of the class of the ground truth that it overlaps most, where that
    overlap is ``foreground_overlap`` or more, and background where it is at least the first of
    ``background_overlaps`` and less than the second. Of the foreground at most
    ``foreground_fraction`` of a batch are drawn, of the background what is then missing; fewer
    where there are no more. A target is ``(deltas - means) / stds``. Overlaps and targets are
    computed in double precision, and given in single.

    The defaults are those of py-faster-rcnn's ``config.py``, but for the normalisation, which its
    experiment of end-to-end training turns on, as it lets the background begin at 0.

    Args:
        rois: ``(R, 5)``, all of item 0.
        truths: ground truth boxes and classes, ``(G, 5)``.
        classes: K, the background's included.
        generator: of the device of ``rois``.

    Raises:
        LayerError: regions of another image, or ground truth that is no boxes of such classes.

    Source: ``proposal_target_layer.py`` of py-faster-rcnn; Ren et al. 2015.
    """
    check_truths(truths)
    _check_classes(truths[:, 4], classes)
    if (rois[:, 0] != 0).any():
        raise LayerError(
            f"a region is of item {float(rois[rois[:, 0] != 0][0, 0]):g}; targets are found for "
            "one image at a time, item 0: give the net batches of one"
        )
    own = torch.cat([truths.new_zeros((len(truths), 1)), truths[:, :4]], 1)
    candidates = torch.cat([rois, own])
    boxes, wanted = candidates[:, 1:].double(), truths[:, :4].double()
    if len(truths):
        greatest, nearest = closest(overlaps(boxes, wanted))
    else:
        greatest, nearest = boxes.new_zeros(len(boxes)), rois.new_zeros(len(boxes)).long()

    first, last = background_overlaps
    foreground = greatest >= foreground_overlap
    background = (greatest >= first) & (greatest < last)
    chosen = sample(_places(foreground), round(foreground_fraction * batch_size), generator)
    others = sample(_places(background), batch_size - len(chosen), generator)
    kept = torch.cat([chosen, others])

    labels = torch.zeros(len(kept), dtype=torch.long, device=rois.device)
    labels[: len(chosen)] = truths[nearest[chosen], 4].long()
    targets = boxes.new_zeros((len(kept), classes, 4))
    weights = torch.zeros_like(targets)
    moves = deltas(boxes[chosen], wanted[nearest[chosen]])
    moves = (moves - moves.new_tensor(means)) / moves.new_tensor(stds)
    (rows,) = (labels > 0).nonzero(as_tuple=True)
    targets[rows, labels[rows]] = moves[rows]
    weights[rows, labels[rows]] = 1
    weights = weights.flatten(1).float()
    return ProposalTargets(
        candidates[kept], labels.float(), targets.flatten(1).float(), weights, weights.clone()
    )


def _places(chosen: Tensor) -> Tensor:
    return chosen.nonzero(as_tuple=True)[0]


def _check_classes(labels: Tensor, classes: int) -> None:
    bad = ~((labels >= 0) & (labels < classes) & (labels == labels.trunc()))
    if bad.any():
        raise LayerError(
            f"a ground truth box is of class {float(labels[bad][0]):g}; expected a whole number "
            f"from 0 to {classes - 1}"
        )
