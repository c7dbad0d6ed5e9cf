"""rpn.proposal_layer.ProposalLayer."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from recaffe.detection.anchors import base_anchors
from recaffe.detection.proposals import TEST_LIMITS, TRAIN_LIMITS, check_maps, propose
from recaffe.layers.base import Shape
from recaffe.layers.native import NativeLayer, answers


@answers("rpn.proposal_layer", "ProposalLayer")
class ProposalLayer(NativeLayer):
    """The regions that Faster R-CNN's scores and moves of anchors stand for, best first.

    See :func:`recaffe.detection.proposals.propose`. At most 2000 of the best 12000 in TRAIN, 300 of
    6000 in TEST. ``param_str`` gives ``feat_stride``, and ``scales`` if they are not 8, 16 and 32.

    Shapes: bottoms ``(1, 2 A, H, W)``, probabilities, ``(1, 4 A, H, W)``, moves, and ``(1, 3)``,
    height, width and scale of the image; tops ``(R, 5)``, item 0 and corners, and, where it is
    asked for, ``(R, 1)``, the probabilities. Until it has run the tops have one row.

    Source: ``rpn/proposal_layer.py`` of py-faster-rcnn; Ren et al. 2015.
    """

    bottoms = (3, 3)
    tops = (1, 2)

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        settings = self.anchor_settings()
        self.stride = float(settings["feat_stride"])
        self.base = base_anchors(settings["scales"])

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        with self.named():
            check_maps(len(self.base), *bottom_shapes)
        shapes: list[Shape] = [(1, 5), (1, 1)]
        return shapes[: self.top_count]

    def compute(self, bottoms: Sequence[Tensor]) -> Sequence[Tensor]:
        limits = TRAIN_LIMITS if self.is_training else TEST_LIMITS
        scores, moves, im_info = bottoms
        found = propose(self.base, scores, moves, im_info, self.stride, limits)
        return found[: self.top_count]
