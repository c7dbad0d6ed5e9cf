"""A whole Faster R-CNN that is small enough for tests, and images for it."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

CLASSES = 3  # the background's included


def python(name: str, module: str, layer: str, param_str: str, bottoms: str, tops: str) -> str:
    names = "".join(f' bottom: "{bottom}"' for bottom in bottoms.split())
    names += "".join(f' top: "{top}"' for top in tops.split())
    return (
        f'layer {{ name: "{name}" type: "Python"{names} python_param {{ module: "{module}" '
        f'layer: "{layer}" param_str: "{param_str}" }} }}\n'
    )


def data(settings: str = "", classes: int = CLASSES) -> str:
    param_str = f"{{'num_classes': {classes}, {settings}}}"
    tops = "data im_info gt_boxes"
    return python("input-data", "roi_data_layer.layer", "RoIDataLayer", param_str, "", tops)


def conv(name: str, bottom: str, outputs: int, kernel: int, stride: int = 1) -> str:
    return f"""layer {{ name: "{name}" type: "Convolution" bottom: "{bottom}" top: "{name}"
      convolution_param {{ num_output: {outputs} kernel_size: {kernel} stride: {stride}
        pad: {kernel // 2} weight_filler {{ type: "gaussian" std: 0.05 }} }} }}
    """


def product(name: str, bottom: str, outputs: int) -> str:
    return f"""layer {{ name: "{name}" type: "InnerProduct" bottom: "{bottom}" top: "{name}"
      inner_product_param {{ num_output: {outputs}
        weight_filler {{ type: "gaussian" std: 0.01 }} }} }}
    """


def smooth_l1(name: str, bottoms: str, sigma: float = 1) -> str:
    names = "".join(f' bottom: "{bottom}"' for bottom in bottoms.split())
    return (
        f'layer {{ name: "{name}" type: "SmoothL1Loss"{names} top: "{name}" '
        f"smooth_l1_loss_param {{ sigma: {sigma} }} }}\n"
    )


# Three anchors, one of each ratio, twice as large as a cell of 16 pixels.
ANCHORS = "{'feat_stride': 16, 'scales': [2]}"


def _features() -> str:
    return "".join([
        conv("conv1", "data", 8, 5, 4),
        'layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }\n',
        conv("conv2", "conv1", 8, 3, 4),
        'layer { name: "relu2" type: "ReLU" bottom: "conv2" top: "conv2" }\n',
        conv("rpn_cls_score", "conv2", 6, 1),
        conv("rpn_bbox_pred", "conv2", 12, 1),
        """layer { name: "rpn_cls_score_reshape" type: "Reshape" bottom: "rpn_cls_score"
          top: "rpn_cls_score_reshape"
          reshape_param { shape { dim: 0 dim: 2 dim: -1 dim: 0 } } }
        """,
    ])  # fmt: skip


def _proposals(top: str) -> str:
    return """layer { name: "rpn_cls_prob" type: "Softmax" bottom: "rpn_cls_score_reshape"
          top: "rpn_cls_prob" }
        layer { name: "rpn_cls_prob_reshape" type: "Reshape" bottom: "rpn_cls_prob"
          top: "rpn_cls_prob_reshape"
          reshape_param { shape { dim: 0 dim: 6 dim: -1 dim: 0 } } }
        """ + python("proposal", "rpn.proposal_layer", "ProposalLayer", ANCHORS,
                     "rpn_cls_prob_reshape rpn_bbox_pred im_info", top)  # fmt: skip


def _heads(classes: int) -> str:
    return "".join([
        """layer { name: "roi_pool" type: "ROIPooling" bottom: "conv2" bottom: "rois"
          top: "roi_pool" roi_pooling_param { pooled_w: 3 pooled_h: 3 spatial_scale: 0.0625 } }
        """,
        product("fc6", "roi_pool", 16),
        'layer { name: "relu6" type: "ReLU" bottom: "fc6" top: "fc6" }\n',
        'layer { name: "drop6" type: "Dropout" bottom: "fc6" top: "fc6" }\n',
        product("cls_score", "fc6", classes),
        product("bbox_pred", "fc6", 4 * classes),
    ])  # fmt: skip


def train_net(settings: str, classes: int = CLASSES) -> str:
    """The net that learns, in both its stages at once."""
    return "".join([
        'name: "small"\n',
        data(settings, classes),
        _features(),
        python("rpn-data", "rpn.anchor_target_layer", "AnchorTargetLayer", ANCHORS,
               "rpn_cls_score gt_boxes im_info data",
               "rpn_labels rpn_bbox_targets rpn_inside rpn_outside"),
        """layer { name: "rpn_loss_cls" type: "SoftmaxWithLoss" bottom: "rpn_cls_score_reshape"
          bottom: "rpn_labels" top: "rpn_loss_cls" propagate_down: true propagate_down: false
          loss_param { ignore_label: -1 normalize: true } }
        """,
        smooth_l1("rpn_loss_bbox", "rpn_bbox_pred rpn_bbox_targets rpn_inside rpn_outside", 3),
        _proposals("rpn_rois"),
        python("roi-data", "rpn.proposal_target_layer", "ProposalTargetLayer",
               f"'num_classes': {classes}", "rpn_rois gt_boxes",
               "rois labels bbox_targets bbox_inside bbox_outside"),
        _heads(classes),
        """layer { name: "loss_cls" type: "SoftmaxWithLoss" bottom: "cls_score" bottom: "labels"
          top: "loss_cls" propagate_down: true propagate_down: false }
        """,
        smooth_l1("loss_bbox", "bbox_pred bbox_targets bbox_inside bbox_outside"),
    ])  # fmt: skip


def detecting_net(classes: int = CLASSES) -> str:
    """The net that detects with what :func:`train_net` learnt."""
    return "".join([
        'name: "small"\n',
        """layer { name: "data" type: "Input" top: "data"
          input_param { shape { dim: 1 dim: 3 dim: 96 dim: 160 } } }
        layer { name: "im_info" type: "Input" top: "im_info"
          input_param { shape { dim: 1 dim: 3 } } }
        """,
        _features(),
        _proposals("rois"),
        _heads(classes),
        'layer { name: "cls_prob" type: "Softmax" bottom: "cls_score" top: "cls_prob" }\n',
    ])  # fmt: skip


def write_images(folder: Path, count: int = 5) -> Path:
    """Images of several sizes with one or two bright boxes, and the file that names them."""
    random = np.random.RandomState(0)
    lines = []
    for index in range(count):
        height, width = 64 + 8 * index, 112 - 8 * index
        image = random.randint(0, 60, (height, width, 3)).astype(np.uint8)
        boxes = [[8, 8, 39, 39]] if index % 2 else [[8, 8, 39, 39], [36, 20, 59, 55]]
        for number, (x1, y1, x2, y2) in enumerate(boxes):
            image[y1 : y2 + 1, x1 : x2 + 1] = 120 + 100 * number
        cv2.imwrite(str(folder / f"{index}.png"), image)
        classes = list(range(1, len(boxes) + 1))
        lines.append(json.dumps({"image": f"{index}.png", "boxes": boxes, "classes": classes}))
    path = folder / "roidb.jsonl"
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def settings(source: Path, more: str = "") -> str:
    return f"'source': '{source}', 'root': '{source.parent}/', 'scale': 96, 'max_size': 160, {more}"
