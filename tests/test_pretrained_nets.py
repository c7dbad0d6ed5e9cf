"""The published models' nets: sizes that are well known, names, patching, BVLC's view."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from typing import Any

import bvlc as bvlc_build
import pytest
from recipes import read_model

import caffe
from caffe.proto import caffe_pb2
from caffetools import patch, prototxt
from caffetools.deploy import to_deploy
from caffetools.pretrained import nets
from caffetools.pretrained.registry import find, load
from caffetools.settings import check_settings

NAMES = tuple(load())
WITH_SOLVER = [name for name in NAMES if find(name).solver is not None]

# Learnable weights without BatchNorm's statistics, as papers and other frameworks count
# them. Four differ from the usual count, by what the weights for Caffe have beyond it.
WELL_KNOWN = {
    "caffenet": 60_965_224,
    "alexnet": 60_965_224,
    "googlenet": 13_378_280,  # both auxiliary classifiers included
    "rcnn": 60_965_224 - 1000 * 4097 + 200 * 4097,
    "vgg16": 138_357_544,
    "vgg19": 143_667_240,
    "resnet50": 25_557_032 + 64,  # a bias of the first convolution
    "resnet101": 44_549_160,
    "resnet152": 60_192_808,
    "squeezenet1.1": 1_235_496,
    "mobilenet_v1": 4_231_976,
    "mobilenet_v2": 3_504_872 + 32 * 32 + 2 * 32,  # the first block expands too
}


def with_input(net: Any, batch: int = 1) -> Any:
    """The net with Input for its Data layers, and nothing drawn for its weights."""
    crop = net.layer[0].transform_param.crop_size
    made = caffe_pb2.NetParameter(name=net.name)
    for top, shape in (("data", [batch, 3, crop, crop]), ("label", [batch])):
        layer = made.layer.add(name=top, type="Input", top=[top])
        layer.input_param.shape.add(dim=shape)
    for layer in net.layer:
        if layer.type != "Data":
            kept = made.layer.add()
            kept.CopyFrom(layer)
            for parameters in (kept.convolution_param, kept.inner_product_param):
                parameters.ClearField("weight_filler")
                parameters.ClearField("bias_filler")
            for field in ("convolution_param", "inner_product_param"):
                if not getattr(kept, field).ListFields():
                    kept.ClearField(field)
    return made


Shapes = dict[str, tuple[str, list[list[int]]]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The layers with weights of each net, made once: type, and shapes of the weights."""
    path = tmp_path_factory.mktemp("nets") / "net.prototxt"

    @cache
    def shapes(kind: str, name: str) -> Shapes:
        net = nets.deploy(name) if kind == "deploy" else with_input(nets.train_val(name))
        prototxt.write(path, net)
        built = caffe.Net(str(path), caffe.TEST)
        types = dict(zip(built._layer_names, [layer.type for layer in built.layers], strict=True))
        return {
            layer: (types[layer], [list(blob.shape) for blob in blobs])
            for layer, blobs in built.params.items()
        }

    return shapes


def floats(shapes: Shapes, but: str = "") -> int:
    return sum(
        math.prod(shape) for kind, blobs in shapes.values() if kind != but for shape in blobs
    )


# --- sizes ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_there_are_as_many_weights_as_is_well_known(name: str, made: Any) -> None:
    assert floats(made("train_val", name), but="BatchNorm") == WELL_KNOWN[name]


@pytest.mark.parametrize("name", [name for name in NAMES if find(name).bytes is not None])
def test_they_fill_the_published_file(name: str, made: Any) -> None:
    """Four bytes each, and some hundred a layer for its name, type, settings and shapes."""
    beside = find(name).bytes - 4 * floats(made("train_val", name))
    assert 0 < beside < 150 * len(nets.train_val(name).layer)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name in ("resnet101", "resnet152") else [])
        for name in NAMES
    ],
)
def test_the_deploy_net_has_the_same_weights_but_auxiliary_ones(name: str, made: Any) -> None:
    learned, answers = made("train_val", name), made("deploy", name)
    left_out = {layer for layer in learned if layer.startswith(("loss1/", "loss2/"))}
    assert {layer: learned[layer] for layer in learned if layer not in left_out} == answers
    assert bool(left_out) == (name == "googlenet")


# --- names, as the published weights have them ----------------------------------------

LAYERS = {
    "caffenet": "conv1 conv5 fc6 fc8",
    "alexnet": "conv1 conv5 fc6 fc8",
    "googlenet": "conv1/7x7_s2 conv2/3x3_reduce inception_3a/1x1 inception_4e/5x5_reduce "
    "inception_5b/pool_proj loss1/conv loss2/fc loss1/classifier loss3/classifier",
    "rcnn": "conv1 fc7 fc-rcnn",
    "vgg16": "conv1_1 conv3_3 conv5_3 fc6 fc8",
    "vgg19": "conv1_1 conv3_4 conv5_4 fc6 fc8",
    "resnet50": "conv1 bn_conv1 scale_conv1 res2a_branch1 bn2a_branch2a scale2a_branch2a "
    "res3d_branch2b res4f_branch2c bn5c_branch2c fc1000",
    "resnet101": "res2c_branch2a res3a_branch1 res3b3_branch2a bn4b22_branch2c res5c_branch2b",
    "resnet152": "res2c_branch2a res3a_branch1 res3b7_branch2a scale4b35_branch2c res5c_branch2b",
    "squeezenet1.1": "conv1 fire2/squeeze1x1 fire5/expand1x1 fire9/expand3x3 conv10",
    "mobilenet_v1": "conv1 conv1/bn conv1/scale conv2_1/dw conv2_1/sep conv5_6/dw/bn "
    "conv6/sep/scale fc7",
    "mobilenet_v2": "conv1/bn conv2_1/expand conv2_1/dwise conv4_7/linear/scale conv6_3/linear "
    "conv6_4 conv6_4/bn fc7",
}
BLOBS = {
    "googlenet": "pool1/norm1 conv2/norm2 inception_3b/output pool5/7x7_s1 loss3/classifier",
    "resnet50": "pool1 res2a res4f res5c pool5",
    "resnet152": "res3b7 res4b35 res5c",
    "squeezenet1.1": "fire2/concat pool3 pool5 fire9/concat pool10",
    "mobilenet_v1": "conv1 conv6/sep pool6",
    "mobilenet_v2": "conv1/bn block_3_1 block_4_6 block_5_2 block_6_2 conv6_4/bn pool6",
}


@pytest.mark.parametrize("name", NAMES)
def test_layers_and_blobs_are_named_as_published(name: str, made: Any) -> None:
    assert not set(LAYERS[name].split()) - set(made("train_val", name))
    blobs = prototxt.blob_names(nets.deploy(name))
    assert not set(BLOBS.get(name, "").split()) - set(blobs)


def test_shortcuts_are_where_they_should_be() -> None:
    sums = {
        name: [layer.name for layer in nets.deploy(name).layer if layer.type == "Eltwise"]
        for name in ("resnet50", "resnet101", "resnet152", "mobilenet_v2")
    }
    assert [len(sums[f"resnet{depth}"]) for depth in (50, 101, 152)] == [16, 33, 50]
    assert sums["mobilenet_v2"] == [
        f"block_{number}"
        for number in ("3_1", "4_1", "4_2", "4_4", "4_5", "4_6", "5_1", "5_2", "6_1", "6_2")
    ]


# Channels, height and width of the last blob that is an image, and of one on the way.
RESOLUTIONS = {
    "caffenet": {"norm1": [96, 27, 27], "pool5": [256, 6, 6]},
    "alexnet": {"pool1": [96, 27, 27], "norm1": [96, 55, 55], "pool5": [256, 6, 6]},
    "googlenet": {"inception_4e/output": [832, 14, 14], "inception_5b/output": [1024, 7, 7]},
    "rcnn": {"norm1": [96, 27, 27], "pool5": [256, 6, 6]},
    "vgg16": {"pool3": [256, 28, 28], "pool5": [512, 7, 7]},
    "vgg19": {"pool3": [256, 28, 28], "pool5": [512, 7, 7]},
    "resnet50": {"res2c": [256, 56, 56], "res4f": [1024, 14, 14], "res5c": [2048, 7, 7]},
    "squeezenet1.1": {"pool1": [64, 56, 56], "pool5": [256, 14, 14], "conv10": [1000, 14, 14]},
    "mobilenet_v1": {"conv4_1/sep": [256, 28, 28], "conv6/sep": [1024, 7, 7]},
    "mobilenet_v2": {"block_4_6": [64, 28, 28], "block_5_2": [96, 14, 14], "conv6_4": [1280, 7, 7]},
}


@pytest.mark.parametrize("name", RESOLUTIONS)
def test_blobs_have_the_resolutions_of_the_published_nets(name: str, tmp_path: Path) -> None:
    prototxt.write(tmp_path / "net", nets.deploy(name))
    blobs = caffe.Net(str(tmp_path / "net"), caffe.TEST).blobs
    found = {blob: list(blobs[blob].shape[1:]) for blob in RESOLUTIONS[name]}
    assert found == RESOLUTIONS[name]


def test_googlenets_auxiliary_losses_weigh_less() -> None:
    losses = [layer for layer in nets.train_val("googlenet").layer if prototxt.is_loss(layer)]
    assert {loss.bottom[0]: loss.loss_weight[0] for loss in losses} == pytest.approx(
        {"loss1/classifier": 0.3, "loss2/classifier": 0.3, "loss3/classifier": 1}
    )


@pytest.mark.parametrize("name", NAMES)
def test_both_phases_read_images_as_the_registry_says(name: str) -> None:
    model, net = find(name), nets.train_val(name)
    for layer, phase in zip(net.layer[:2], (prototxt.TRAIN, prototxt.TEST), strict=True):
        assert (layer.name, layer.type, list(layer.top)) == ("data", "Data", ["data", "label"])
        assert [rule.phase for rule in layer.include] == [phase]
        transform = layer.transform_param
        assert transform.crop_size == model.input[1] == model.input[2]
        assert list(transform.mean_value) == pytest.approx(model.mean or [])
        assert transform.scale == pytest.approx(model.scale)
        assert transform.mirror == (phase == prototxt.TRAIN and name != "squeezenet1.1")


@pytest.mark.parametrize("name", NAMES)
def test_the_heads_are_those_of_the_registry(name: str) -> None:
    assert prototxt.heads(nets.train_val(name)) == find(name).heads


def test_rcnn_gives_scores_and_the_others_probabilities() -> None:
    for name in NAMES:
        last = nets.deploy(name).layer[-1]
        expected = ("fc-rcnn", "InnerProduct") if name == "rcnn" else ("prob", "Softmax")
        assert (last.top[0], last.type) == expected


# --- those in config/models -----------------------------------------------------------


def test_caffenet_is_the_one_in_config_models() -> None:
    """But for the mean: there the image of the training data, here the registry's values."""
    net, solver = read_model("caffenet")
    written = nets.train_val("caffenet")
    for layer in [*net.layer[:2], *written.layer[:2]]:
        layer.transform_param.ClearField("mean_file")
        layer.transform_param.ClearField("mean_value")
    for first, second in zip(net.layer, written.layer, strict=True):
        assert without_defaults(first) == without_defaults(second)
    assert nets.solver("caffenet") == solver


def without_defaults(layer: Any) -> Any:
    """The layer without settings that are what they would be anyway."""
    copy = caffe_pb2.LayerParameter()
    copy.CopyFrom(layer)
    copy.transform_param.ClearField("mirror")
    if not copy.transform_param.ListFields():
        copy.ClearField("transform_param")
    return copy


# --- solvers --------------------------------------------------------------------------


@pytest.mark.parametrize("name", WITH_SOLVER)
def test_the_solver_tests_all_of_the_validation_images(name: str) -> None:
    solver = nets.solver(name)
    assert solver.net == "train_val.prototxt"
    assert solver.test_iter[0] * nets.train_val(name).layer[1].data_param.batch_size == 50_000
    for field, value in find(name).solver.items():
        if field == "batch_size":  # of no field of Caffe's
            continue
        found = getattr(solver, field)
        assert (list(found) if field == "test_iter" else found) == pytest.approx(
            [value] if field == "test_iter" else value
        )


@pytest.mark.parametrize("name", [name for name in WITH_SOLVER if name[:3] in ("vgg", "res")])
def test_an_iteration_has_as_many_images_as_the_papers(name: str) -> None:
    batch = nets.train_val(name).layer[0].data_param.batch_size
    assert nets.solver(name).iter_size * batch == 256 == find(name).solver["batch_size"]


# --- patching -------------------------------------------------------------------------


def settings_of(name: str) -> dict[str, Any]:
    heads = find(name).heads
    return {
        **{"head": heads, "new_head": [f"{head}_new" for head in heads], "classes": 7},
        **{"head_lr_mult": 10, "input_shape": [3, 256, 256], "train_source": "here"},
    }


@pytest.mark.parametrize("name", NAMES)
def test_each_is_patched_by_name(name: str) -> None:
    settings = check_settings(settings_of(name))
    net = patch.patch_net(nets.train_val(name), settings)
    layers = {layer.name: layer for layer in net.layer}
    for head in find(name).heads:
        assert head not in layers
        layer = layers[f"{head}_new"]
        parameters = getattr(layer, prototxt.HEAD_PARAMETERS[layer.type])
        assert parameters.num_output == 7
        assert layer.param[0].lr_mult == 10
    deploy = to_deploy(net, settings["input_shape"])
    assert list(deploy.layer[0].input_param.shape[0].dim) == [1, *find(name).input]
    assert deploy.layer[-1].type == "Softmax"


# --- BVLC -----------------------------------------------------------------------------

BUILDS = """
import json, sys
import caffe
from caffetools import prototxt
from caffetools.pretrained import nets
seen = {}
for name in sys.argv[1:]:
    with open("deploy.prototxt", "w") as stream:
        stream.write(prototxt.to_text(nets.deploy(name)))
    net = caffe.Net("deploy.prototxt", caffe.TEST)
    types = dict(zip(net._layer_names, [layer.type for layer in net.layers]))
    seen[name] = {
        "weights": {layer: [types[layer], [list(blob.data.shape) for blob in blobs]]
                    for layer, blobs in net.params.items()},
        "blobs": {blob: list(value.data.shape) for blob, value in net.blobs.items()},
        "texts": [prototxt.to_text(getattr(nets, kind)(name)) for kind in ("train_val", "deploy")],
    }
json.dump(seen, sys.stdout)
"""


@pytest.mark.oracle
def test_bvlc_writes_the_same_nets_and_builds_them_alike(
    bvlc: bvlc_build.Build, made: Any, tmp_path: Path
) -> None:
    theirs = bvlc.python(BUILDS, *NAMES, caffetools=True).json()
    for name in NAMES:
        deploy = nets.deploy(name)
        assert theirs[name]["texts"] == list(map(prototxt.to_text, (nets.train_val(name), deploy)))
        ours = {layer: list(told) for layer, told in made("deploy", name).items()}
        assert theirs[name]["weights"] == ours
        prototxt.write(tmp_path / "net", deploy)
        net = caffe.Net(str(tmp_path / "net"), caffe.TEST)
        assert theirs[name]["blobs"] == {
            blob: list(value.shape) for blob, value in net.blobs.items()
        }


@pytest.mark.oracle
def test_bvlc_writes_and_reads_the_same_solvers(bvlc: bvlc_build.Build) -> None:
    script = """
import json, sys
from caffetools import prototxt
from caffetools.pretrained import nets
json.dump({name: prototxt.to_text(nets.solver(name)) for name in sys.argv[1:]}, sys.stdout)
"""
    theirs = bvlc.python(script, *WITH_SOLVER, caffetools=True).json()
    assert theirs == {name: prototxt.to_text(nets.solver(name)) for name in WITH_SOLVER}
