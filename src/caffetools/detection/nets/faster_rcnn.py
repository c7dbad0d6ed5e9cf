"""What all of the Faster R-CNN nets have in common, written once: all but the convolutions.

Names, tops, fillers and multipliers are those of py-faster-rcnn's ``faster_rcnn_end2end``
prototxts (Ren et al., Faster R-CNN, 2015; approximate joint training).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from caffe.net_spec import layers as L
from caffetools.pretrained.nets.parts import LEARNED, constant, gaussian, relu

# Of each scale there is an anchor of each of three shapes.
_SHAPES = 3
PUBLISHED_SCALES = (8.0, 16.0, 32.0)
IMAGE = (1, 3, 224, 224)


@dataclass(frozen=True)
class Anchors:
    """The boxes that the region proposal network starts from.

    Attributes:
        stride: how many pixels of the image a cell of the feature map is wide and high.
        scales: how many times 16 pixels the square anchors are wide and high.
    """

    stride: int = 16
    scales: tuple[float, ...] = PUBLISHED_SCALES

    @property
    def count(self) -> int:
        """How many there are in a cell."""
        return _SHAPES * len(self.scales)

    @property
    def param_str(self) -> str:
        """The settings of a Python layer; scales only where they are not the published ones."""
        text = f"'feat_stride': {self.stride}"
        if self.scales == PUBLISHED_SCALES:
            return text
        return f"{text}\n'scales': [{', '.join(f'{scale:.9g}' for scale in self.scales)}]"


@dataclass(frozen=True)
class Losses:
    """How a net has the detector's losses: the names of their tops, and the first one's settings.

    py-faster-rcnn's nets differ in this.
    """

    tops: tuple[str, str] = ("loss_cls", "loss_bbox")
    ignores: bool = False


def data(n: Any, classes: int, learns: bool) -> None:
    """Add where the image comes from, its size and scale, and, in training, its boxes."""
    if learns:
        n.data, n.im_info, n.gt_boxes = _python(
            "input-data", "roi_data_layer.layer", "RoIDataLayer", classes_text(classes), ntop=3
        )
    else:
        n.data = L.Input(shape=[{"dim": IMAGE}])
        n.im_info = L.Input(shape=[{"dim": (1, 3)}])


def classes_text(classes: int) -> str:
    """The ``param_str`` of a Python layer that is told the number of classes."""
    return f"'num_classes': {classes}"


def proposed(n: Any, features: Any, outputs: int, anchors: Anchors, learns: bool) -> Any:
    """Add the region proposal network; its regions, (R, 5), are given.

    Args:
        features: the blob that it looks at, (1, C, H, W).
        outputs: of its own convolution.
        learns: whether its losses are added as well.
    """
    x = n["rpn/output"] = _convolution(features, outputs, 3, "rpn_conv/3x3")
    relu(n, "rpn_relu/3x3", x)
    scores = n.rpn_cls_score = _convolution(x, 2 * anchors.count, 1, "rpn_cls_score")
    moves = n.rpn_bbox_pred = _convolution(x, 4 * anchors.count, 1, "rpn_bbox_pred")
    pairs = n.rpn_cls_score_reshape = _reshaped(scores, 2)
    if learns:
        _proposals_learn(n, scores, moves, pairs, anchors)
    n.rpn_cls_prob = L.Softmax(pairs)
    n.rpn_cls_prob_reshape = _reshaped(n.rpn_cls_prob, 2 * anchors.count)
    regions = "rpn_rois" if learns else "rois"
    n[regions] = _python(
        "proposal", "rpn.proposal_layer", "ProposalLayer", anchors.param_str,
        n.rpn_cls_prob_reshape, moves, n.im_info,
    )  # fmt: skip
    return n[regions]


def sampled(n: Any, regions: Any, classes: int) -> Any:
    """Add the sample of regions that the detector learns from; the sample, (S, 5), is given."""
    n.rois, n.labels, n.bbox_targets, n.bbox_inside_weights, n.bbox_outside_weights = _python(
        "roi-data", "rpn.proposal_target_layer", "ProposalTargetLayer", classes_text(classes),
        regions, n.gt_boxes, ntop=5,
    )  # fmt: skip
    return n.rois


def pooled(
    n: Any, features: Any, regions: Any, stride: int, size: int, name: str, top: str
) -> Any:  # fmt: skip
    """Add ROIPooling to ``size`` by ``size`` cells for each region."""
    n[top] = L.ROIPooling(
        features,
        regions,
        name=name,
        roi_pooling_param={"pooled_w": size, "pooled_h": size, "spatial_scale": 1 / stride},
    )
    return n[top]


def fully_connected(
    n: Any,
    x: Any,
    outputs: Sequence[int] = (4096, 4096),
    dropout: bool = True,
    **settings: Any,
) -> Any:
    """Add fc6 and fc7, each with its ReLU and, unless told otherwise, Dropout.

    ``settings`` are further ones of Dropout.
    """
    for number, count in enumerate(outputs, 6):
        n[f"fc{number}"] = L.InnerProduct(
            x,
            num_output=count,
            param=LEARNED,
            weight_filler=gaussian(0.005) if dropout else {"type": "xavier"},
            bias_filler=constant(0),
        )
        x = relu(n, f"relu{number}", n[f"fc{number}"])
        if dropout:
            x = n[f"drop{number}"] = L.Dropout(x, dropout_ratio=0.5, in_place=True, **settings)
    return x


def detected(n: Any, x: Any, classes: int, losses: Losses, learns: bool) -> None:
    """Add the detector: each region's scores, and its four moves for each of the classes."""
    n.cls_score = _inner_product(x, classes, 0.01)
    n.bbox_pred = _inner_product(x, 4 * classes, 0.001)
    if not learns:
        n.cls_prob = L.Softmax(n.cls_score)
        return
    scores, moves = losses.tops
    ignored = {"loss_param": {"ignore_label": -1, "normalize": True}} if losses.ignores else {}
    n[scores] = _softmax_loss("loss_cls", n.cls_score, n.labels, **ignored)
    n[moves] = L.SmoothL1Loss(
        n.bbox_pred, n.bbox_targets, n.bbox_inside_weights, n.bbox_outside_weights,
        name="loss_bbox", loss_weight=1,
    )  # fmt: skip


def _proposals_learn(n: Any, scores: Any, moves: Any, pairs: Any, anchors: Anchors) -> None:
    targets = _python(
        "rpn-data", "rpn.anchor_target_layer", "AnchorTargetLayer", anchors.param_str,
        scores, n.gt_boxes, n.im_info, n.data, ntop=4,
    )  # fmt: skip
    n.rpn_labels, n.rpn_bbox_targets, *weights = targets
    n.rpn_bbox_inside_weights, n.rpn_bbox_outside_weights = weights
    n.rpn_cls_loss = _softmax_loss(
        "rpn_loss_cls", pairs, n.rpn_labels, loss_param={"ignore_label": -1, "normalize": True}
    )
    n.rpn_loss_bbox = L.SmoothL1Loss(
        moves, n.rpn_bbox_targets, *weights, loss_weight=1, smooth_l1_loss_param={"sigma": 3}
    )


def _python(name: str, module: str, layer: str, text: str, *bottoms: Any, ntop: int = 1) -> Any:
    settings = {"module": module, "layer": layer, "param_str": text}
    return L.Python(*bottoms, name=name, ntop=ntop, python_param=settings)


def _convolution(bottom: Any, outputs: int, kernel: int, name: str) -> Any:
    return L.Convolution(
        bottom,
        name=name,
        num_output=outputs,
        kernel_size=kernel,
        pad=kernel // 2,
        stride=1,
        param=LEARNED,
        weight_filler=gaussian(0.01),
        bias_filler=constant(0),
    )


def _inner_product(bottom: Any, outputs: int, deviation: float) -> Any:
    return L.InnerProduct(
        bottom,
        num_output=outputs,
        param=LEARNED,
        weight_filler=gaussian(deviation),
        bias_filler=constant(0),
    )


def _reshaped(bottom: Any, channels: int) -> Any:
    """The same values with that many channels, and as many rows as it takes."""
    return L.Reshape(bottom, shape={"dim": [0, channels, -1, 0]})


def _softmax_loss(name: str, scores: Any, labels: Any, **more: Any) -> Any:
    return L.SoftmaxWithLoss(
        scores, labels, name=name, propagate_down=[True, False], loss_weight=1, **more
    )
