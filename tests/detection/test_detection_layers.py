"""Faster R-CNN's Python layers, as published prototxts name them, in nets that run and learn."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import plain
import pytest
import torch
from small_detector import python
from small_nets import TEST, TRAIN, build, inputs, run, run_back

import caffe
from recaffe.context import context
from recaffe.detection.anchors import base_anchors
from recaffe.detection.proposals import TEST_LIMITS, TRAIN_LIMITS, propose
from recaffe.errors import LayerError
from recaffe.layers.native import answers, native_class, native_names


def proposal(param_str: str = "'feat_stride': 16", tops: str = "rois") -> str:
    return python("proposal", "rpn.proposal_layer", "ProposalLayer", param_str,
                  "rpn_cls_prob_reshape rpn_bbox_pred im_info", tops)  # fmt: skip


def anchor(
    param_str: str = "'feat_stride': 16", bottoms: str = "score gt_boxes im_info data"
) -> str:
    return python("rpn-data", "rpn.anchor_target_layer", "AnchorTargetLayer", param_str, bottoms,
                  "rpn_labels rpn_targets rpn_inside rpn_outside")  # fmt: skip


def target(param_str: str = "'num_classes': 4") -> str:
    return python("roi-data", "rpn.proposal_target_layer", "ProposalTargetLayer", param_str,
                  "rois gt_boxes", "regions labels targets inside outside")  # fmt: skip


PROPOSED = inputs(rpn_cls_prob_reshape=(1, 18, 20, 30), rpn_bbox_pred=(1, 36, 20, 30),
                  im_info=(1, 3))  # fmt: skip
ANCHORED = inputs(score=(1, 18, 20, 30), gt_boxes=(2, 5), im_info=(1, 3), data=(1, 3, 320, 480))
TARGETED = inputs(rois=(6, 5), gt_boxes=(2, 5))
TRUTHS = [[32, 40, 159, 167, 2], [200, 100, 399, 299, 3]]


def scored(net) -> tuple[torch.Tensor, torch.Tensor]:
    generator = plain.drawn()
    scores = torch.rand(1, 18, 20, 30, generator=generator)
    moves = torch.randn(1, 36, 20, 30, generator=generator) * 0.3
    net.blobs["rpn_cls_prob_reshape"].data[...] = scores
    net.blobs["rpn_bbox_pred"].data[...] = moves
    net.blobs["im_info"].data[...] = [[320, 480, 1.5]]
    return scores, moves


@pytest.mark.parametrize(("phase", "limits"), [(TRAIN, TRAIN_LIMITS), (TEST, TEST_LIMITS)])
def test_proposals_are_told_from_scores_and_moves(phase, limits):
    net = build(PROPOSED + proposal(tops="rois probs"), phase)
    assert net.blobs["rois"].shape == (1, 5)
    scores, moves = scored(net)
    run(net)
    info = torch.tensor([[320, 480, 1.5]])
    rois, probabilities = propose(base_anchors(), scores, moves, info, 16, limits)
    assert (len(rois) == 300) == (phase == TEST)
    np.testing.assert_array_equal(net.blobs["rois"].data, rois)
    np.testing.assert_array_equal(net.blobs["probs"].data, probabilities)


def test_scales_may_be_a_tuple_of_python_as_published():
    single = "'feat_stride': 16\\n'scales': !!python/tuple [4, 8, 16]"
    for param_str in (single, "{'feat_stride': 16, 'scales': [4, 8, 16]}"):
        net = build(PROPOSED + proposal(param_str), TEST)
        assert net.layers[-1].base.tolist() == base_anchors([4, 8, 16]).tolist()
        assert net.layers[-1].stride == 16


def test_what_anchors_learn_follows_the_ground_truth():
    context.seed(3)
    net = build(ANCHORED + anchor())
    assert net.blobs["rpn_labels"].shape == (1, 1, 180, 30)
    assert net.blobs["rpn_inside"].shape == (1, 36, 20, 30)
    net.blobs["gt_boxes"].data[...] = TRUTHS
    net.blobs["im_info"].data[...] = [[320, 480, 1.5]]
    run(net)
    labels = net.blobs["rpn_labels"].data.copy()
    assert labels.shape == (1, 1, 180, 30)
    assert (labels == 1).sum() > 0
    assert (labels >= 0).sum() == 256
    assert net.blobs["rpn_outside"].data.sum() == pytest.approx(4)
    run(net)
    assert (net.blobs["rpn_labels"].data != labels).any()  # drawn anew
    context.seed(3)
    run(net)
    np.testing.assert_array_equal(net.blobs["rpn_labels"].data, labels)


def test_a_border_may_be_told():
    within, over = (build(ANCHORED + anchor(f"'feat_stride': 16{more}"))
                    for more in ("", "\\n'allowed_border': 1000"))  # fmt: skip
    counts = []
    for net in (within, over):
        net.blobs["gt_boxes"].data[...] = TRUTHS
        net.blobs["im_info"].data[...] = [[320, 480, 1]]
        run(net)
        counts.append(net.blobs["rpn_targets"].data.any(1).sum())
    assert counts[0] < counts[1] == 600


def test_what_the_detector_learns_follows_the_regions():
    net = build(TARGETED + target())
    assert net.blobs["targets"].shape == (1, 16)
    net.blobs["gt_boxes"].data[...] = TRUTHS
    net.blobs["rois"].data[...] = [
        [0, 32, 40, 159, 150], [0, 0, 0, 9, 9], [0, 200, 100, 299, 299], [0, 400, 0, 409, 9],
        [0, 32, 40, 60, 60], [0, 210, 100, 399, 299],
    ]  # fmt: skip
    run(net)
    # Also those that overlap nothing are background, as in the experiment that has this layer.
    assert net.blobs["labels"].data.tolist() == [2, 3, 3, 2, 3, 0, 0, 0]
    assert net.blobs["regions"].shape == (8, 5)
    targets = net.blobs["targets"].data.reshape(8, 4, 4)
    assert targets[0, 2] == pytest.approx(
        [0, 8.5 / 111 / 0.1, 0, np.log(128 / 111) / 0.2], rel=1e-4
    )
    assert net.blobs["inside"].data.sum() == net.blobs["outside"].data.sum() == 5 * 4


TRAINED = (
    ANCHORED + inputs(prob=(1, 18, 20, 30), pred_in=(1, 4, 20, 30))
    + """
layer { name: "pred" type: "Convolution" bottom: "pred_in" top: "pred" convolution_param {
  num_output: 36 kernel_size: 1 weight_filler { type: "gaussian" std: 0.1 } } }
"""
    + anchor("'feat_stride': 16")
    + """
layer { name: "rpn_loss" type: "SmoothL1Loss" bottom: "pred" bottom: "rpn_targets"
  bottom: "rpn_inside" bottom: "rpn_outside" top: "rpn_loss" loss_weight: 1 }
"""
    + python("proposal", "rpn.proposal_layer", "ProposalLayer", "'feat_stride': 16",
             "prob pred im_info", "rois")
    + target()
    + """
layer { name: "pool" type: "ROIPooling" bottom: "pred" bottom: "regions" top: "pool"
  roi_pooling_param { pooled_w: 2 pooled_h: 2 spatial_scale: 0.0625 } }
layer { name: "cls" type: "InnerProduct" bottom: "pool" top: "cls" inner_product_param {
  num_output: 4 weight_filler { type: "gaussian" std: 0.1 } } }
layer { name: "box" type: "InnerProduct" bottom: "pool" top: "box" inner_product_param {
  num_output: 16 weight_filler { type: "gaussian" std: 0.1 } } }
layer { name: "loss_cls" type: "SoftmaxWithLoss" bottom: "cls" bottom: "labels" top: "loss_cls"
  propagate_down: true propagate_down: false }
layer { name: "loss_box" type: "SmoothL1Loss" bottom: "box" bottom: "targets" bottom: "inside"
  bottom: "outside" top: "loss_box" loss_weight: 1 }
"""
)  # fmt: skip


def trained_net():
    context.seed(5)
    net = build(TRAINED)
    generator = plain.drawn(1)
    for name in ("prob", "pred_in"):
        blob = net.blobs[name]
        blob.data[...] = torch.rand(blob.shape, generator=generator)
    net.blobs["gt_boxes"].data[...] = TRUTHS
    net.blobs["im_info"].data[...] = [[320, 480, 1]]
    return net


def test_a_detector_is_trained_through_them_layer_by_layer_and_as_a_whole():
    layers, whole = trained_net(), trained_net()
    for step in range(2):
        results = []
        for net, keep in ((layers, True), (whole, False)):
            context.seed(step)
            net.clear_param_diffs()
            results.append(net.forward_backward(keep=keep))
        assert results[0] == pytest.approx(results[1], rel=1e-6)
        for ours, theirs in zip(layers.learnable, whole.learnable, strict=True):
            assert ours.diff.any()
            np.testing.assert_allclose(ours.diff, theirs.diff, rtol=1e-4, atol=1e-6)
        assert layers.blobs["regions"].shape[0] == layers.blobs["cls"].shape[0] > 8


def test_no_gradient_goes_through_them_even_if_it_is_asked_for():
    net = build("force_backward: true " + PROPOSED + proposal(), TEST)
    assert net.plan.bottoms[-1] == [False] * 3
    scored(net)
    run(net)
    net.blobs["rois"].diff[...] = 1
    run_back(net)
    assert not net.blobs["rpn_bbox_pred"].diff.any()


def test_pycaffe_shows_them_as_python_layers(tmp_path: Path):
    file = tmp_path / "net.prototxt"
    file.write_text(PROPOSED + proposal())
    net = caffe.Net(str(file), caffe.TEST)
    assert net.layers[-1].type == "Python"
    scored(net)
    assert net.forward()["rois"].shape == (300, 5)


def test_a_users_own_module_is_taken_where_it_is_allowed_by_name(monkeypatch, tmp_path: Path):
    (tmp_path / "rpn").mkdir()
    (tmp_path / "rpn" / "__init__.py").touch()
    (tmp_path / "rpn" / "proposal_layer.py").write_text(
        "import caffe\nclass ProposalLayer(caffe.Layer):\n"
        "    def reshape(self, bottom, top):\n        top[0].reshape(7, 5)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    try:
        for allowed, shape in ((None, (1, 5)), ("", (1, 5)), ("a,rpn.proposal_layer", (7, 5))):
            if allowed is not None:
                monkeypatch.setenv("RECAFFE_PYTHON_LAYERS", allowed)
            assert build(PROPOSED + proposal()).blobs["rois"].shape == shape
            assert ("rpn.proposal_layer" in sys.modules) == (shape == (7, 5))
    finally:
        for name in ("rpn", "rpn.proposal_layer"):
            sys.modules.pop(name, None)


def test_those_that_are_answered_for():
    assert native_names() == [
        "roi_data_layer.layer.RoIDataLayer",
        "rpn.anchor_target_layer.AnchorTargetLayer",
        "rpn.proposal_layer.ProposalLayer",
        "rpn.proposal_target_layer.ProposalTargetLayer",
    ]
    assert native_class("rpn.proposal_layer", "Other") is None
    with pytest.raises(ValueError, match=r"two layers answer for 'rpn\.proposal_layer\.Propo"):
        answers("rpn.proposal_layer", "ProposalLayer")(
            native_class("rpn.proposal_layer", "ProposalLayer")
        )


# -- mistakes -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("param_str", "message"),
    [
        ("", "param_str needs 'feat_stride'"),
        ("'feat_stride': [", r"param_str .* is no YAML"),
        ("16", "expected settings as"),
        ("'feat_stride': yes", "feat_stride: expected a number, found True"),
        ("'feat_stride': .inf", "feat_stride: expected a number, found inf"),
        ("'feat_stride': .nan", "feat_stride: expected a number, found nan"),
        ("'feat_stride': 2001-99-99", "is no YAML"),
        ("'feat_stride': 0", "feat_stride: expected a number above 0, found 0"),
        ("'feat_stride': 16\\n'scales': [8, -1]", "scales: expected numbers above 0"),
        ("'feat_stride': 16\\n'scales': []", "scales: expected numbers"),
        ("'feat_stride': 16\\n'scales': [8, a]", r"scales: expected numbers.*found \[8, 'a'\]"),
        ("'feat_strid': 16", "no setting 'feat_strid' is known; known: feat_stride, scales"),
        ("'feat_stride': !!python/object/apply:os.system ['false']", "is no YAML"),
        ("[" * 3000, "is no YAML"),
    ],
)
def test_settings_that_cannot_be(param_str, message):
    with pytest.raises(LayerError, match=rf"layer 'proposal' \(Python\): .*{message}"):
        build(PROPOSED + proposal(param_str))


@pytest.mark.parametrize("classes", [1, 2.5, -4])
def test_a_detector_has_the_background_and_another_class(classes):
    with pytest.raises(LayerError, match=rf"num_classes: expected 2 or more.*found {classes}"):
        build(TARGETED + target(f"'num_classes': {classes}"))


def test_shapes_that_do_not_fit_are_told_as_the_net_is_made():
    two = PROPOSED.replace("dim: 1 dim: 18", "dim: 2 dim: 18")
    with pytest.raises(LayerError, match=r"'proposal' \(Python\): .*one image at a time"):
        build(two + proposal())
    with pytest.raises(LayerError, match=r"'proposal' \(Python\): 6 anchors a cell need"):
        build(PROPOSED + proposal("'feat_stride': 16\\n'scales': [8, 16]"))
    with pytest.raises(LayerError, match=r"'rpn-data' \(Python\): expected scores .* one image"):
        build(ANCHORED.replace("dim: 1 dim: 18", "dim: 2 dim: 18") + anchor())
    with pytest.raises(LayerError, match=r"'rpn-data' .*\(1, 12, H, W\) .* and 6 anchors a cell"):
        build(ANCHORED + anchor("'feat_stride': 16\\n'scales': [8, 16]"))
    with pytest.raises(LayerError, match=r"'rpn-data' \(Python\): expected im_info"):
        build(ANCHORED.replace("dim: 1 dim: 3 }", "dim: 1 dim: 4 }") + anchor())
    with pytest.raises(LayerError, match=r"'roi-data' \(Python\): expected regions \(R, 5\)"):
        build(TARGETED.replace("dim: 6 dim: 5", "dim: 6 dim: 4") + target())


def test_ground_truth_that_is_none_is_told_with_the_layer():
    net = build(ANCHORED + anchor())
    net.blobs["gt_boxes"].data[...] = [TRUTHS[0], [9, 9, 2, 2, 1]]
    net.blobs["im_info"].data[...] = [[320, 480, 1]]
    with pytest.raises(LayerError, match=r"'rpn-data' \(Python\): ground truth box 1 is \(9, 9"):
        run(net)
    net = build(TARGETED + target())
    net.blobs["gt_boxes"].data[...] = [TRUTHS[0], [1, 1, 2, 2, 4]]
    with pytest.raises(LayerError, match=r"'roi-data' \(Python\): .*of class 4; .*0 to 3"):
        run(net)
