"""rpn.anchor_target_layer.AnchorTargetLayer."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from recaffe.context import context
from recaffe.detection.anchor_targets import anchor_targets
from recaffe.detection.anchors import base_anchors
from recaffe.layers.base import Shape
from recaffe.layers.native import NativeLayer, answers, table


@answers("rpn.anchor_target_layer", "AnchorTargetLayer")
class AnchorTargetLayer(NativeLayer):
    """What Faster R-CNN's region proposal network is to learn from an image.

    See :func:`recaffe.detection.anchor_targets.anchor_targets`. ``param_str`` gives
    ``feat_stride``, and ``scales`` and ``allowed_border`` if they are not 8, 16, 32, and 0.

    Shapes: bottoms ``(1, 2 A, H, W)``, of which only the shape is read, ``(G, 5)``, ground truth
    boxes and classes, ``(1, 3)``, height, width and scale of the image, and the image itself,
    which is not read; tops ``(1, 1, A H, W)`` and three times ``(1, 4 A, H, W)``.

    Source: ``rpn/anchor_target_layer.py`` of py-faster-rcnn; Ren et al. 2015.
    """

    bottoms = (3, 4)
    tops = (4, 4)

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        settings = self.anchor_settings(allowed_border=0)
        self.stride = float(settings["feat_stride"])
        self.border = float(settings["allowed_border"])
        self.base = base_anchors(settings["scales"])

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        scores, im_info = bottom_shapes[0], bottom_shapes[2]
        anchors = len(self.base)
        if len(scores) != 4 or scores[:2] != (1, 2 * anchors):
            raise self.error(
                f"expected scores (1, {2 * anchors}, H, W) of one image and {anchors} anchors a "
                f"cell, found {list(scores)}"
            )
        if im_info[:1] != (1,) or math.prod(im_info) != 3:
            raise self.error(
                f"expected im_info (1, 3) of height, width, scale, found {list(im_info)}"
            )
        height, width = scores[2:]
        return [(1, 1, anchors * height, width), *[(1, 4 * anchors, height, width)] * 3]

    def compute(self, bottoms: Sequence[Tensor]) -> Sequence[Tensor]:
        scores, truths, im_info = bottoms[:3]
        height, width = scores.shape[2:]
        return anchor_targets(
            self.base,
            height,
            width,
            table(truths),
            im_info,
            self.stride,
            context.generator(truths.device),
            allowed_border=self.border,
        )
