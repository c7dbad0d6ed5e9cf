"""Deploy nets by graph: what stays, what goes, and what cannot be made."""

from __future__ import annotations

import re
from typing import Any

import bvlc as bvlc_build
import pytest
from google.protobuf import text_format

from caffe.proto import caffe_pb2
from caffetools.cli import ToolError
from caffetools.deploy import to_deploy
from caffetools.prototxt import to_text

# Something of everything that must go, beside two layers that must stay.
NET = """
name: "small"
layer { name: "train" type: "Data" top: "data" top: "label" include { phase: TRAIN }
        data_param { source: "t" batch_size: 4 } }
layer { name: "val" type: "Data" top: "data" top: "label" include { phase: TEST }
        data_param { source: "v" batch_size: 2 } }
layer { name: "quiet" type: "Silence" bottom: "label" }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        param { lr_mult: 1 } param { lr_mult: 2 decay_mult: 0 }
        convolution_param { num_output: 2 kernel_size: 3 weight_filler { type: "xavier" }
                            bias_filler { value: 1 } } }
layer { name: "drop" type: "Dropout" bottom: "conv" top: "conv" }
layer { name: "noise" type: "DummyData" top: "noise" include { phase: TRAIN }
        dummy_data_param { shape { dim: 1 } } }
layer { name: "aux" type: "InnerProduct" bottom: "conv" top: "aux"
        inner_product_param { num_output: 5 } }
layer { name: "aux_loss" type: "SoftmaxWithLoss" bottom: "aux" bottom: "label"
        loss_weight: 0.3 }
layer { name: "ip" type: "InnerProduct" bottom: "conv" top: "ip"
        inner_product_param { num_output: 5 weight_filler { type: "gaussian" std: 0.1 } } }
layer { name: "top1" type: "Accuracy" bottom: "ip" bottom: "label" include { phase: TEST } }
layer { name: "out" type: "ArgMax" bottom: "ip" top: "best" include { phase: TEST } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss"
        softmax_param { axis: 1 } }
"""
DEPLOY = """
name: "small"
layer { name: "data" type: "Input" top: "data"
        input_param { shape { dim: 1 dim: 3 dim: 9 dim: 8 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param { num_output: 2 kernel_size: 3 } }
layer { name: "drop" type: "Dropout" bottom: "conv" top: "conv" }
layer { name: "ip" type: "InnerProduct" bottom: "conv" top: "ip"
        inner_product_param { num_output: 5 } }
layer { name: "prob" type: "Softmax" bottom: "ip" top: "prob" softmax_param { axis: 1 } }
"""
IN_TRAIN = "include { phase: TRAIN }"


def net_of(text: str) -> Any:
    return text_format.Parse(text, caffe_pb2.NetParameter())


def deploy_of(text: str, shape: tuple[int, int, int] = (3, 9, 8)) -> Any:
    return to_deploy(net_of(text), shape)


def test_only_what_the_scores_depend_on_stays() -> None:
    net = net_of(NET)
    before = net.SerializeToString()
    assert to_text(to_deploy(net, (3, 9, 8))) == to_text(net_of(DEPLOY))
    assert net.SerializeToString() == before


def test_input_has_the_size_of_the_test_phases_crop() -> None:
    data = 'layer { name: "val" type: "Data"'
    crops = NET.replace(data, f"{data} transform_param {{ crop_size: 6 }}")
    assert list(deploy_of(crops).layer[0].input_param.shape[0].dim) == [1, 3, 6, 6]
    with pytest.raises(ToolError, match=r"'val' crops to 6x6, but the images are 9x5"):
        deploy_of(crops, (3, 9, 5))


def test_loss_of_the_train_phase_serves_where_test_has_none() -> None:
    in_train = re.sub(r'top: "loss"|loss_weight: 0.3', rf"\g<0> {IN_TRAIN}", NET)
    softmax = 'layer { name: "prob" type: "Softmax" bottom: "ip" top: "prob" }'
    assert deploy_of(in_train) == net_of(DEPLOY)
    assert deploy_of(in_train + softmax) == net_of(DEPLOY)


def test_of_equal_losses_the_last_is_the_main_one() -> None:
    assert deploy_of(NET.replace("loss_weight: 0.3", "")) == net_of(DEPLOY)
    aside = deploy_of(NET.replace("loss_weight: 0.3", "loss_weight: 3"))
    assert aside.layer[-1].bottom[0] == "aux"


def test_what_changes_the_scores_in_place_after_the_loss_goes() -> None:
    later = 'layer { name: "relu" type: "ReLU" bottom: "ip" top: "ip" }'
    assert deploy_of(NET + later) == net_of(DEPLOY)


def test_names_of_shared_blobs_stay() -> None:
    shared = NET.replace("param { lr_mult: 1 }", 'param { name: "w" lr_mult: 3 }')
    conv = deploy_of(shared).layer[1]
    assert [spec.name for spec in conv.param] == ["w", ""]
    assert not any(spec.HasField("lr_mult") or spec.HasField("decay_mult") for spec in conv.param)


def test_fillers_that_are_data_stay() -> None:
    dummy = (
        'layer { name: "noise" type: "DummyData" top: "noise" '
        "dummy_data_param { shape { dim: 2 } data_filler { value: 7 } } }"
        'layer { name: "add" type: "Eltwise" bottom: "ip" bottom: "noise" top: "sum" }'
    )
    net = NET.replace(
        'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip"',
        f'{dummy} layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "sum"',
    )
    noise = next(layer for layer in deploy_of(net).layer if layer.name == "noise")
    assert noise.dummy_data_param.data_filler[0].value == 7


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("SoftmaxWithLoss", "HingeLoss", "net 'small' has no SoftmaxWithLoss layer"),
        ('"Dropout" bottom: "conv"', '"Eltwise" bottom: "label"', "the labels of 'val', through"),
        (
            r'"Data" top: "data" top: "label" include { phase: TEST',
            '"X" include { phase: TEST',
            "0",
        ),
        ('name: "drop"', 'name: "prob"', "layer 'prob' uses the name 'prob'"),
        ('bottom: "ip" bottom: "label" top: "loss"', 'bottom: "none"', "has the top 'none'"),
        (
            'layer { name: "drop" type: "Dropout" bottom: "conv"',
            'layer { name: "more" type: "Data" top: "more" }'
            'layer { name: "drop" type: "Eltwise" bottom: "conv" bottom: "more"',
            "depend on 2 data layers of the TEST phase ('val', 'more')",
        ),
    ],
)
def test_nets_without_a_deploy_form_are_refused(old: str, new: str, message: str) -> None:
    assert old in NET
    with pytest.raises(ToolError, match=re.escape(message)):
        deploy_of(NET.replace(old, new))


@pytest.mark.oracle
def test_bvlc_builds_and_runs_it(bvlc: bvlc_build.Build) -> None:
    script = (
        "import json, sys, caffe\n"
        "net = caffe.Net('deploy.prototxt', caffe.TEST)\n"
        "net.forward()\n"
        "json.dump([list(net.inputs), list(net.outputs), net.blobs['prob'].data.shape,\n"
        "           float(net.blobs['prob'].data.sum())], sys.stdout)"
    )
    text = to_text(deploy_of(NET))
    inputs, outputs, shape, total = bvlc.python(script, files={"deploy.prototxt": text}).json()
    assert (inputs, outputs, shape) == (["data"], ["prob"], [1, 5])
    assert total == pytest.approx(1)
