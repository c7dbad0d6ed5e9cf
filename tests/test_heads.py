"""New heads: names, classes, learning rates, and what cannot be one."""

from __future__ import annotations

import re
from typing import Any

import pytest
from patch_nets import NET, layer_named, multipliers, net_of

from caffetools import heads, prototxt
from caffetools.cli import ToolError
from caffetools.deploy import to_deploy


def test_new_head_has_its_classes_and_all_that_read_it_follow() -> None:
    net = net_of()
    patched = heads.replace_head(net, "fc", "fc_new", 3)
    expected = re.sub(r'(name|top|bottom): "fc"', r'\1: "fc_new"', NET)
    assert patched == net_of(expected.replace("num_output: 5", "num_output: 3"))
    assert net == net_of()


def test_top_of_another_name_than_the_layers_stays() -> None:
    other = re.sub(r'(top|bottom): "fc"', r'\1: "scores"', NET)
    patched = heads.replace_head(net_of(other), "fc", "fc_new", 5)
    assert patched == net_of(other.replace('name: "fc"', 'name: "fc_new"'))


def test_head_that_a_phase_has_its_own_layer_for_is_replaced_in_both() -> None:
    fc = re.search(r'layer \{ name: "fc" .*?\n.*\n.*\n', NET)
    assert fc
    in_phases = [
        fc[0][: fc[0].rindex("}")] + f"include {{ phase: {p} }} }}" for p in prototxt.PHASES
    ]
    patched = heads.replace_head(net_of(NET.replace(fc[0], "\n".join(in_phases))), "fc", "new", 3)
    found = prototxt.layers_named(patched, "new")
    assert [head.inner_product_param.num_output for head in found] == [3, 3]


@pytest.mark.parametrize(("classes", "expected"), [(3, 3), (4, 4), (5, 4), (9, 4)])
def test_no_accuracy_looks_among_more_classes_than_there_are(classes: int, expected: int) -> None:
    best = """layer { name: "best" type: "Accuracy" bottom: "fc" bottom: "label" top: "best"
                      accuracy_param { top_k: 4 } include { phase: TEST } }"""
    patched = heads.replace_head(net_of(NET + best), "fc", "fc_new", classes)
    assert layer_named(patched, "best").accuracy_param.top_k == expected
    assert not layer_named(patched, "accuracy").HasField("accuracy_param")


def test_convolution_can_be_the_head() -> None:
    text = NET.replace('"InnerProduct"', '"Convolution"').replace("inner_product", "convolution")
    patched = heads.replace_head(net_of(text), "fc", "fc_new", 3)
    assert layer_named(patched, "fc_new").convolution_param.num_output == 3


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        ("fc8", "the net has no such layer"),
        ("drop", "it is of type Dropout, expected Convolution or InnerProduct"),
        ("conv", "layers that learn depend on it: norm, fc"),
    ],
)
def test_what_cannot_be_the_head_is_refused_with_what_can(head: str, reason: str) -> None:
    message = f"layer '{head}' cannot be the head: {reason}. What can be in this net: fc"
    with pytest.raises(ToolError, match=re.escape(message)):
        heads.replace_head(net_of(), head, "new", 3)


@pytest.mark.parametrize(
    ("new_head", "kind"), [("drop", "layer"), ("conv", "layer"), ("label", "blob")]
)
def test_new_name_that_the_net_has_is_refused(new_head: str, kind: str) -> None:
    with pytest.raises(ToolError, match=f"name '{new_head}' is that of a {kind} of the net"):
        heads.replace_head(net_of(), "fc", new_head, 3)


def test_head_keeps_its_name_only_with_its_number_of_outputs() -> None:
    assert heads.replace_head(net_of(), "fc", "fc", 5) == net_of()
    with pytest.raises(ToolError, match=r"'fc', but 3 outputs instead of 5.* such as fc_3"):
        heads.replace_head(net_of(), "fc", "fc", 3)


def test_head_that_shares_its_weights_is_refused() -> None:
    shared = NET.replace("decay_mult: 3 }", 'decay_mult: 3 name: "w" }')
    assert heads.replace_head(net_of(shared), "fc", "new", 3)
    twin = 'layer { name: "twin" type: "InnerProduct" param { name: "w" } }'
    with pytest.raises(ToolError, match=r"shares its blob 'w' \(param { name }\) with twin"):
        heads.replace_head(net_of(shared + twin), "fc", "new", 3)


# --- multipliers ----------------------------------------------------------------------


def test_boost_sets_both_multipliers_and_keeps_the_decay() -> None:
    assert multipliers(heads.boost(net_of(), "fc", 10), "fc") == [(10, 3), (20, 1)]
    assert multipliers(heads.boost(net_of(), "fc", 10, 5), "fc") == [(10, 3), (5, 1)]
    assert multipliers(heads.boost(net_of(), "fc", None, 5), "fc") == [(1, 3), (5, 1)]
    assert heads.boost(net_of(), "fc", None) == net_of()


def test_head_without_bias_has_one_multiplier() -> None:
    text = NET.replace("num_output: 5", "num_output: 5 bias_term: false")
    assert multipliers(heads.boost(net_of(text), "fc", 10), "fc") == [(10, 3)]


# --- several --------------------------------------------------------------------------

# As GoogLeNet has it: a side classifier on the same labels, weighing less in the loss.
SIDE = (
    NET
    + """
layer { name: "side" type: "InnerProduct" bottom: "conv" top: "side"
        inner_product_param { num_output: 5 } }
layer { name: "side_loss" type: "SoftmaxWithLoss" bottom: "side" bottom: "label"
        loss_weight: 0.3 }
"""
)


def outputs(net: Any) -> dict[str, int]:
    layers = [layer for layer in net.layer if layer.type == "InnerProduct"]
    return {layer.name: layer.inner_product_param.num_output for layer in layers}


def test_all_heads_are_replaced() -> None:
    patched = heads.replace_heads(net_of(SIDE), {"side": "side_new", "fc": "fc_new"}, 3)
    assert outputs(patched) == {"fc_new": 3, "side_new": 3}
    assert prototxt.heads(patched) == ["fc_new", "side_new"]


def test_head_that_is_left_out_is_named() -> None:
    message = "'side' would go on giving 5 scores for the labels of 'fc', of which there are 3; "
    with pytest.raises(ToolError, match=re.escape(f"{message}name all heads: head: [fc, side]")):
        heads.replace_heads(net_of(SIDE), {"fc": "fc_new"}, 3)


def test_head_may_be_left_out_that_fits_or_judges_other_labels() -> None:
    assert outputs(heads.replace_heads(net_of(SIDE), {"fc": "new"}, 5)) == {"new": 5, "side": 5}
    other = SIDE.replace('bottom: "side" bottom: "label"', 'bottom: "side" bottom: "colour"')
    assert outputs(heads.replace_heads(net_of(other), {"fc": "new"}, 3)) == {"new": 3, "side": 5}


def test_answer_is_the_main_heads() -> None:
    """Though the side classifier comes last."""
    patched = heads.replace_heads(net_of(SIDE), {"side": "side_new", "fc": "fc_new"}, 3)
    view = prototxt.phase_view(patched, prototxt.TEST)
    assert prototxt.scores_and_labels(view) == ("fc_new", "label")
    assert outputs(to_deploy(patched, (3, 9, 9))) == {"fc_new": 3}
