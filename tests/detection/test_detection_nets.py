"""The nets of Faster R-CNN: shapes and names as published, running, learning, other classes."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import caffe
from caffe.proto import caffe_pb2
from caffetools import prototxt
from caffetools.cli import ToolError
from caffetools.deploy import without_training
from caffetools.detection import nets
from caffetools.detection.nets.__main__ import main
from caffetools.detection.nets.classes import set_classes
from caffetools.heads import replace_head
from caffetools.pretrained import nets as pretrained

NAMES = tuple(nets.NETS)
SLOW = ("zf", "vgg_cnn_m_1024", "vgg16", "resnet50")
RUN = [pytest.param(name, marks=pytest.mark.slow if name in SLOW else []) for name in NAMES]
HEIGHT, WIDTH = 160, 240
TRUTHS = [[20, 30, 79, 89, 1], [70, 40, 140, 130, 2]]


def with_inputs(net: Any) -> Any:
    """The train net with Input layers for py-faster-rcnn's data layer."""
    made = caffe_pb2.NetParameter(name=net.name)
    shapes = ([1, 3, HEIGHT, WIDTH], [1, 3], [len(TRUTHS), 5])
    for top, shape in zip(net.layer[0].top, shapes, strict=True):
        made.layer.add(name=top, type="Input", top=[top]).input_param.shape.add(dim=shape)
    made.layer.extend(net.layer[1:])
    return made


def built(folder: Path, net: Any, phase: int) -> Any:
    prototxt.write(folder / "net.prototxt", net)
    return caffe.Net(str(folder / "net.prototxt"), phase)


def fed(net: Any) -> Any:
    """The net with an image, and boxes if it takes any."""
    net.blobs["data"].reshape(1, 3, HEIGHT, WIDTH)
    shape = net.blobs["data"].data.shape
    net.blobs["data"].data[...] = np.random.default_rng(0).normal(0, 50, shape)
    net.blobs["im_info"].data[...] = [[HEIGHT, WIDTH, 1]]
    if "gt_boxes" in net.blobs:
        net.blobs["gt_boxes"].data[...] = TRUTHS
    return net


Shapes = dict[str, list[list[int]]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The shapes of the weights of each layer, by kind and name of the net, for 21 classes."""
    folder = tmp_path_factory.mktemp("nets")

    @cache
    def shapes(kind: str, name: str) -> Shapes:
        if kind == "imagenet":
            net = pretrained.deploy(name)
        else:
            net = with_inputs(nets.train_net(name, 21)) if kind == "train" else nets.detect_net(
                name, 21
            )  # fmt: skip
        for layer in net.layer:  # so that nothing is drawn
            layer.CopyFrom(without_training(layer))
        net = built(folder, net, caffe.TRAIN if kind == "train" else caffe.TEST)
        return {name: [list(blob.shape) for blob in blobs] for name, blobs in net.params.items()}

    return shapes


# --- as published ---------------------------------------------------------------------

HEADS = {
    "rpn_cls_score": [18, None, 1, 1],
    "rpn_bbox_pred": [36, None, 1, 1],
    "cls_score": [21, None],
    "bbox_pred": [84, None],
}
WEIGHTS: dict[str, dict[str, list[int]]] = {
    "zf": {
        "conv1": [96, 3, 7, 7],
        "conv2": [256, 96, 5, 5],
        "conv3": [384, 256, 3, 3],
        "conv4": [384, 384, 3, 3],
        "conv5": [256, 384, 3, 3],
        "rpn_conv/3x3": [256, 256, 3, 3],
        "rpn_cls_score": [18, 256, 1, 1],
        "rpn_bbox_pred": [36, 256, 1, 1],
        "fc6": [4096, 9216],
        "fc7": [4096, 4096],
        "cls_score": [21, 4096],
        "bbox_pred": [84, 4096],
    },
    "vgg_cnn_m_1024": {
        "conv1": [96, 3, 7, 7],
        "conv2": [256, 96, 5, 5],
        "conv3": [512, 256, 3, 3],
        "conv4": [512, 512, 3, 3],
        "conv5": [512, 512, 3, 3],
        "rpn_conv/3x3": [256, 512, 3, 3],
        "rpn_cls_score": [18, 256, 1, 1],
        "rpn_bbox_pred": [36, 256, 1, 1],
        "fc6": [4096, 18432],
        "fc7": [1024, 4096],
        "cls_score": [21, 1024],
        "bbox_pred": [84, 1024],
    },
    "vgg16": {
        "conv1_1": [64, 3, 3, 3],
        "conv1_2": [64, 64, 3, 3],
        "conv2_1": [128, 64, 3, 3],
        "conv2_2": [128, 128, 3, 3],
        "conv3_1": [256, 128, 3, 3],
        "conv3_2": [256, 256, 3, 3],
        "conv3_3": [256, 256, 3, 3],
        "conv4_1": [512, 256, 3, 3],
        "conv4_2": [512, 512, 3, 3],
        "conv4_3": [512, 512, 3, 3],
        "conv5_1": [512, 512, 3, 3],
        "conv5_2": [512, 512, 3, 3],
        "conv5_3": [512, 512, 3, 3],
        "rpn_conv/3x3": [512, 512, 3, 3],
        "rpn_cls_score": [18, 512, 1, 1],
        "rpn_bbox_pred": [36, 512, 1, 1],
        "fc6": [4096, 25088],
        "fc7": [4096, 4096],
        "cls_score": [21, 4096],
        "bbox_pred": [84, 4096],
    },
}


@pytest.mark.parametrize("kind", ["train", "detect"])
@pytest.mark.parametrize("name", WEIGHTS)
def test_weights_have_the_names_and_shapes_of_the_published_caffemodels(name, kind, made):
    found = made(kind, name)
    assert found == {layer: [shape, shape[:1]] for layer, shape in WEIGHTS[name].items()}


@pytest.mark.parametrize("name", NAMES)
def test_the_net_that_detects_has_the_weights_of_the_one_that_learns(name, made):
    assert made("train", name) == made("detect", name)


@pytest.mark.parametrize(
    ("name", "own"),
    [("vgg16", {"fc8"}), ("resnet50", {"fc1000"})],
)
def test_weights_from_imagenet_fit_all_but_the_heads(name, own, made):
    ours, imagenet = made("train", name), made("imagenet", name)
    assert set(imagenet) - set(ours) == own
    assert {layer: ours[layer] for layer in imagenet if layer not in own} == {
        layer: shapes for layer, shapes in imagenet.items() if layer not in own
    }
    assert set(ours) - set(imagenet) == {
        *("rpn_conv/3x3", "rpn_cls_score", "rpn_bbox_pred", "cls_score", "bbox_pred")
    }


# Name and type, bottoms, tops; "it" is the feature map.
CHAIN = """
input-data Python | | data im_info gt_boxes
rpn_conv/3x3 Convolution | it | rpn/output
rpn_relu/3x3 ReLU | rpn/output | rpn/output
rpn_cls_score Convolution | rpn/output | rpn_cls_score
rpn_bbox_pred Convolution | rpn/output | rpn_bbox_pred
rpn_cls_score_reshape Reshape | rpn_cls_score | rpn_cls_score_reshape
rpn-data Python | rpn_cls_score gt_boxes im_info data | rpn_labels rpn_bbox_targets \
rpn_bbox_inside_weights rpn_bbox_outside_weights
rpn_loss_cls SoftmaxWithLoss | rpn_cls_score_reshape rpn_labels | rpn_cls_loss
rpn_loss_bbox SmoothL1Loss | rpn_bbox_pred rpn_bbox_targets rpn_bbox_inside_weights \
rpn_bbox_outside_weights | rpn_loss_bbox
rpn_cls_prob Softmax | rpn_cls_score_reshape | rpn_cls_prob
rpn_cls_prob_reshape Reshape | rpn_cls_prob | rpn_cls_prob_reshape
proposal Python | rpn_cls_prob_reshape rpn_bbox_pred im_info | rpn_rois
roi-data Python | rpn_rois gt_boxes | rois labels bbox_targets bbox_inside_weights \
bbox_outside_weights
roi_pool5 ROIPooling | it rois | pool5
fc6 InnerProduct | pool5 | fc6
relu6 ReLU | fc6 | fc6
drop6 Dropout | fc6 | fc6
fc7 InnerProduct | fc6 | fc7
relu7 ReLU | fc7 | fc7
drop7 Dropout | fc7 | fc7
cls_score InnerProduct | fc7 | cls_score
bbox_pred InnerProduct | fc7 | bbox_pred
loss_cls SoftmaxWithLoss | cls_score labels | loss_cls
loss_bbox SmoothL1Loss | bbox_pred bbox_targets bbox_inside_weights bbox_outside_weights | loss_bbox
"""


def chain(net: Any, features: str) -> list[str]:
    layers = [net.layer[0], *net.layer[[each.name for each in net.layer].index("rpn_conv/3x3") :]]
    rows = (
        [f"{each.name} {each.type}", " ".join(each.bottom), " ".join(each.top)] for each in layers
    )
    lines = (" | ".join(row).replace("|  |", "| |") for row in rows)
    return [f" {line} ".replace(f" {features} ", " it ").strip() for line in lines]


@pytest.mark.parametrize(("name", "features"), [("vgg16", "conv5_3"), ("vgg_cnn_m_1024", "conv5")])
def test_layers_and_blobs_are_chained_as_published(name, features):
    assert chain(nets.train_net(name, 21), features) == CHAIN.strip().split("\n")


def test_zf_names_three_blobs_otherwise():
    expected = CHAIN.replace("roi_pool5", "roi_pool_conv5").replace("| pool5", "| roi_pool_conv5")
    expected = expected.replace("| loss_cls", "| cls_loss").replace("| loss_bbox", "| bbox_loss")
    assert chain(nets.train_net("zf", 21), "conv5") == expected.strip().split("\n")
    layers = {layer.name: layer for layer in nets.train_net("zf", 21).layer}
    assert layers["loss_cls"].loss_param.ignore_label == -1
    assert layers["drop7"].dropout_param.scale_train is False


FROZEN = {
    "zf": set(),
    "tiny": set(),
    "vgg_cnn_m_1024": {"conv1"},
    "vgg16": {"conv1_1", "conv1_2", "conv2_1", "conv2_2"},
}


@pytest.mark.parametrize("name", FROZEN)
def test_the_first_layers_do_not_learn_and_biases_learn_twice_as_fast(name):
    rates = {
        layer.name: [(spec.lr_mult, spec.decay_mult) for spec in layer.param]
        for layer in nets.train_net(name, 21).layer
        if layer.param
    }
    frozen = {layer for layer, specs in rates.items() if specs == [(0, 0), (0, 0)]}
    assert frozen == FROZEN[name]
    assert all(specs == [(1, 1), (2, 1)] for layer, specs in rates.items() if layer not in frozen)


def test_resnets_first_stages_and_all_statistics_stay_as_they_are():
    net = nets.train_net("resnet50", 21)
    for layer in net.layer:
        rates = {spec.lr_mult for spec in layer.param}
        if layer.type in ("BatchNorm", "Scale"):
            assert rates == {0}
            assert layer.type == "Scale" or layer.batch_norm_param.use_global_stats
            assert len(layer.param) == (3 if layer.type == "BatchNorm" else 2)
        elif layer.type == "Convolution":
            first = layer.name == "conv1" or layer.name.startswith("res2")
            assert (rates == {0}) == first, layer.name
    statistics = [
        each for each in nets.detect_net("resnet50", 21).layer if each.type == "BatchNorm"
    ]
    assert len(statistics) == 53
    assert all(each.batch_norm_param.use_global_stats for each in statistics)


def test_fillers_of_what_is_new_are_as_published():
    layers = {layer.name: layer for layer in nets.train_net("vgg16", 21).layer}
    for name, deviation in {
        "rpn_conv/3x3": 0.01,
        "rpn_cls_score": 0.01,
        "rpn_bbox_pred": 0.01,
        "cls_score": 0.01,
        "bbox_pred": 0.001,
    }.items():
        layer = layers[name]
        settings = layer.convolution_param if "rpn" in name else layer.inner_product_param
        assert settings.weight_filler.type == "gaussian"
        assert settings.weight_filler.std == pytest.approx(deviation)
        assert settings.bias_filler.value == 0


def test_the_solver_is_as_published():
    solver = nets.solver("vgg16")
    told = {"base_lr": 0.001, "gamma": 0.1, "momentum": 0.9, "weight_decay": 0.0005}
    for field, value in told.items():
        assert getattr(solver, field) == pytest.approx(value)
    assert (solver.lr_policy, solver.stepsize, solver.average_loss) == ("step", 50_000, 100)
    assert solver.snapshot_prefix == "vgg16_faster_rcnn"
    assert [nets.solver(name).iter_size for name in ("zf", "vgg16", "vgg_cnn_m_1024")] == [2, 2, 1]


# --- running --------------------------------------------------------------------------


def with_plain_statistics(net: Any) -> Any:
    """The net whose BatchNorm layers, which only ImageNet's weights fill, leave blobs alone."""
    for name, layer in zip(net._layer_names, net.layers, strict=True):
        if layer.type == "BatchNorm":
            net.params[name][1].data[...] = 1
            net.params[name][2].data[...] = 1
    return net


@pytest.mark.parametrize("name", RUN)
def test_each_learns_and_detects(name, tmp_path):
    caffe.set_random_seed(1)
    net = fed(
        with_plain_statistics(built(tmp_path, with_inputs(nets.train_net(name, 3)), caffe.TRAIN))
    )
    losses = [blob for blob, weight in net.blob_loss_weights.items() if weight]
    assert len(losses) == 4
    net.forward()
    assert all(np.isfinite(net.blobs[loss].data) and net.blobs[loss].data > 0 for loss in losses)
    net.backward()
    frozen = {layer.name for layer in nets.train_net(name, 3).layer if layer.param and not any(
        spec.lr_mult for spec in layer.param)}  # fmt: skip
    for layer, blobs in net.params.items():
        assert all(np.isfinite(blob.diff).all() for blob in blobs), layer
        assert blobs[0].diff.any() != (layer in frozen), layer
    assert net.blobs["bbox_pred"].data.shape[1] == 12

    detects = built(tmp_path, nets.detect_net(name, 3), caffe.TEST)
    assert detects.blobs["data"].data.shape == (1, 3, 224, 224)
    detects.share_with(net)
    fed(detects)
    answers = detects.forward()
    rois = detects.blobs["rois"].data
    assert set(answers) == {"cls_prob", "bbox_pred"}
    assert 0 < len(rois) <= 300
    assert rois.shape[1] == 5
    assert rois.min() >= 0
    assert (rois[:, 1:] <= [WIDTH - 1, HEIGHT - 1] * 2).all()
    assert answers["bbox_pred"].shape == (len(rois), 12)
    np.testing.assert_allclose(answers["cls_prob"].sum(1), np.ones(len(rois)), rtol=1e-5)
    assert answers["cls_prob"].shape == (len(rois), 3)


# In height, of an image of 224 pixels: where regions are looked for, and where they are pooled.
CELLS = {
    "zf": [15, 15],
    "vgg_cnn_m_1024": [13, 13],
    "vgg16": [14, 14],
    "resnet50": [14, 14],
    "tiny": [14, 56],
}


@pytest.mark.parametrize("name", NAMES)
def test_cells_are_as_far_apart_as_anchors_and_pooling_say(name, tmp_path):
    """Within what pads that are missing take away."""
    bare = nets.detect_net(name, 3)
    layers = {layer.name: layer for layer in bare.layer}
    pooling = next(layer for layer in bare.layer if layer.type == "ROIPooling")
    settings = yaml.safe_load(
        f"{{{layers['proposal'].python_param.param_str}}}".replace("\n", ", ")
    )
    blobs = built(tmp_path, bare, caffe.TEST).blobs
    found = [blobs[layer.bottom[0]].shape[2] for layer in (layers["rpn_conv/3x3"], pooling)]
    expected = [224 / settings["feat_stride"], 224 * pooling.roi_pooling_param.spatial_scale]
    assert np.abs(np.subtract(found, expected)).max() <= 2
    assert found == CELLS[name]


def test_tiny_learns(tmp_path):
    """The boxes of one scene, over and over."""
    net = with_inputs(nets.train_net("tiny", 3))
    prototxt.write(tmp_path / "train.prototxt", net)
    solver = nets.solver("tiny")
    solver.train_net, solver.iter_size, solver.display = str(tmp_path / "train.prototxt"), 1, 0
    prototxt.write(tmp_path / "solver.prototxt", solver)
    caffe.set_random_seed(1)
    trained = caffe.SGDSolver(str(tmp_path / "solver.prototxt"))
    fed(trained.net)
    scores = []
    for _ in range(30):
        trained.step(1)
        scores.append(float(trained.net.blobs["rpn_cls_loss"].data))
    assert np.mean(scores[-3:]) < 0.9 * np.mean(scores[:3])


# --- other anchors --------------------------------------------------------------------


def test_scales_of_anchors_are_told_to_all_that_need_them(tmp_path):
    net = nets.train_net("tiny", 3, [1, 2.5])
    layers = {layer.name: layer for layer in net.layer}
    for name in ("rpn-data", "proposal"):
        text = layers[name].python_param.param_str
        assert text == "'feat_stride': 16\n'scales': [1, 2.5]"
    assert layers["rpn_cls_score"].convolution_param.num_output == 12
    assert layers["rpn_bbox_pred"].convolution_param.num_output == 24
    built(tmp_path, with_inputs(net), caffe.TRAIN)
    published = nets.train_net("zf", 3)
    told = [layer.python_param.param_str for layer in published.layer if layer.type == "Python"]
    assert told == ["'num_classes': 3", *["'feat_stride': 16"] * 2, "'num_classes': 3"]


@pytest.mark.parametrize("scales", [[], [8, 0], [-1], [float("nan")], [float("inf")]])
def test_scales_that_cannot_be(scales):
    with pytest.raises(ToolError, match=r"scales of anchors are .*; expected numbers above 0"):
        nets.train_net("tiny", 3, scales)


# --- classes --------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("write", [nets.train_net, nets.detect_net])
def test_other_classes_are_set_as_they_are_written(name, write):
    assert set_classes(write(name, 21), 5) == write(name, 5)


def test_heads_are_told_by_what_reads_them_and_the_net_given_stays():
    net = nets.train_net("zf", 21)
    for layer in net.layer:
        layer.name = layer.name.replace("cls_score", "a").replace("bbox_pred", "b")
    before = prototxt.to_text(net)
    patched = {layer.name: layer for layer in set_classes(net, 3).layer}
    assert patched["a"].inner_product_param.num_output == 3
    assert patched["b"].inner_product_param.num_output == 12
    assert prototxt.to_text(net) == before


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ("'num_classes': 21", "'num_classes': 4"),
        ('{"num_classes" : 21, "x": 21}', '{"num_classes" : 4, "x": 21}'),
        ("num_classes: 21", "num_classes: 4"),
    ],
)
def test_what_python_layers_are_told_keeps_its_form(found, expected):
    net = nets.train_net("zf", 21)
    net.layer[0].python_param.param_str = found
    assert set_classes(net, 4).layer[0].python_param.param_str == expected


def test_a_net_without_the_heads_is_told_of_with_the_layers_it_has():
    net = nets.train_net("zf", 21)
    boxes = next(layer for layer in net.layer if layer.name == "bbox_pred")
    boxes.inner_product_param.num_output = 80
    with pytest.raises(ToolError, match=r"'ZF' has no pairs of heads.*'cls_score' \(21 outputs\), "
                                        r"'bbox_pred' \(80 outputs\)"):  # fmt: skip
        set_classes(net, 5)
    with pytest.raises(ToolError, match=r"'VGG_ILSVRC_16_layers' has no pairs of heads"):
        set_classes(pretrained.train_val("vgg16"), 5)
    with pytest.raises(ToolError, match="Its InnerProduct layers: none"):
        set_classes(caffe_pb2.NetParameter(), 5)


def test_heads_get_new_names_after_other_classes():
    """So that weights of a detector of other classes are not sought for them."""
    net = set_classes(nets.train_net("vgg16", 21), 5)
    for head, outputs in (("cls_score", 5), ("bbox_pred", 20)):
        net = replace_head(net, head, f"{head}_5", outputs)
    layers = {layer.name: layer for layer in net.layer}
    assert list(layers["loss_cls"].bottom) == ["cls_score_5", "labels"]
    assert layers["loss_bbox"].bottom[0] == "bbox_pred_5"


@pytest.mark.parametrize("place", ["input-data", "roi-data"])
def test_a_layer_that_is_not_told_the_number_of_classes_is_named(place):
    net = nets.train_net("zf", 21)
    next(layer for layer in net.layer if layer.name == place).python_param.param_str = "'a': 1"
    with pytest.raises(
        ToolError, match=rf"layer '{place}' .*expected \"'num_classes': ...\" in its"
    ):
        set_classes(net, 5)


@pytest.mark.parametrize("classes", [1, 0, -3, 10**9])
def test_a_detector_tells_something_from_the_background(classes):
    for refused in (
        lambda: set_classes(nets.train_net("zf", 21), classes),
        lambda: nets.detect_net("zf", classes),
    ):
        with pytest.raises(ToolError, match=rf"for {classes} classes; expected 2 to 100000"):
            refused()


# --- the command ----------------------------------------------------------------------


def test_the_command_writes_three_files(tmp_path):
    main(["vgg16", "--classes", "5", "--output", str(tmp_path / "new"), "--scales", "4", "8"])
    folder = tmp_path / "new"
    assert sorted(path.name for path in folder.iterdir()) == [
        "solver.prototxt", "test.prototxt", "train.prototxt"
    ]  # fmt: skip
    assert prototxt.read_net(folder / "train.prototxt") == nets.train_net("vgg16", 5, [4, 8])
    assert prototxt.read_net(folder / "test.prototxt") == nets.detect_net("vgg16", 5, [4, 8])
    solver = prototxt.read_solver(folder / "solver.prototxt")
    assert solver == nets.solver("vgg16")
    assert solver.train_net == "train.prototxt"


def test_a_name_that_is_none_writes_nothing(tmp_path):
    with pytest.raises(ToolError, match=r"named 'vgg-16'; did you mean 'vgg16'\? There are: zf, "):
        main(["vgg-16", "--classes", "5", "--output", str(tmp_path / "new")])
    assert not (tmp_path / "new").exists()


def test_a_caffe_without_the_layers_is_told_of(monkeypatch):
    monkeypatch.setattr(nets, "_FIELDS", ("roi_pooling_param", "of_no_caffe_param"))
    with pytest.raises(ToolError, match="have no of_no_caffe_param, which Faster R-CNN needs"):
        nets.train_net("tiny", 3)
