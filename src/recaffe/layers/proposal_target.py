"""rpn.proposal_target_layer.ProposalTargetLayer."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from recaffe.context import context
from recaffe.detection.proposal_targets import proposal_targets
from recaffe.layers.base import Shape
from recaffe.layers.native import NativeLayer, answers, table

# Only nets that are trained end to end have this layer; so it is in that experiment.
_BACKGROUND = (0.0, 0.5)


@answers("rpn.proposal_target_layer", "ProposalTargetLayer")
class ProposalTargetLayer(NativeLayer):
    """A sample of Faster R-CNN's regions, and what its detector is to learn from them.

    See :func:`recaffe.detection.proposal_targets.proposal_targets`; background is what overlaps by
    0 up to 0.5, and targets are normalised, as published for training end to end. ``param_str``
    gives ``num_classes``, K.

    Shapes: bottoms ``(R, 5)``, item 0 and corners, and ``(G, 5)``, ground truth boxes and classes;
    tops ``(S, 5)``, ``(S,)`` and three times ``(S, 4 K)``. Until it has run the tops have one row.

    Source: ``rpn/proposal_target_layer.py`` and ``faster_rcnn_end2end.yml`` of py-faster-rcnn; Ren
    et al. 2015.
    """

    bottoms = (2, 2)
    tops = (5, 5)

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        classes = self.settings({"num_classes": None})["num_classes"]
        if classes != int(classes) or classes < 2:
            raise self.error(
                f"param_str: num_classes: expected 2 or more, the background's included, found "
                f"{classes}"
            )
        self.classes = int(classes)

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        rois = bottom_shapes[0]
        if len(rois) < 2 or math.prod(rois[1:]) != 5:
            raise self.error(f"expected regions (R, 5) of item, x1, y1, x2, y2, found {list(rois)}")
        return [(1, 5), (1,), *[(1, 4 * self.classes)] * 3]

    def compute(self, bottoms: Sequence[Tensor]) -> Sequence[Tensor]:
        rois, truths = map(table, bottoms)
        generator = context.generator(rois.device)
        return proposal_targets(
            rois, truths, self.classes, generator, background_overlaps=_BACKGROUND
        )
