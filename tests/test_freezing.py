"""Frozen layers: by name, by pattern, and with what they share."""

from __future__ import annotations

import re

import pytest
from patch_nets import NET, multipliers, net_of

from caffetools.cli import ToolError
from caffetools.freezing import freeze, to_freeze

SIDE = """
layer { name: "side" type: "InnerProduct" bottom: "conv" top: "side"
        inner_product_param { num_output: 5 } }
"""


def test_frozen_layers_have_no_rate_and_no_decay() -> None:
    net = net_of()
    patched = freeze(net, ["c*"], statistics="update")
    assert multipliers(patched, "conv") == [(0, 0), (0, 0)]
    assert multipliers(patched, "norm") == []
    assert multipliers(patched, "fc") == [(1, 3)]
    assert net == net_of()


def test_star_freezes_all_but_the_head() -> None:
    patched = freeze(net_of(), ["*"], ["fc"])
    assert multipliers(patched, "conv") == [(0, 0)] * 2
    assert multipliers(patched, "norm") == [(0, 0)] * 3
    assert multipliers(patched, "fc") == [(1, 3)]


def test_layers_up_to_one_are_those_it_depends_on() -> None:
    net = net_of(NET.replace('layer { name: "fc"', SIDE + 'layer { name: "fc"'))
    assert to_freeze(net, up_to="fc") == {"conv", "norm", "fc"}
    assert to_freeze(net, up_to="relu") == {"conv", "norm"}
    assert to_freeze(net, up_to="loss", heads=["fc"]) == {"conv", "norm"}
    assert to_freeze(net, ["side"], up_to="conv") == {"conv", "norm", "side"}


@pytest.mark.parametrize(
    ("up_to", "message"),
    [
        ("dat", "the net has no layer 'dat'; did you mean 'data'?"),
        ("fc", "'fc' is replaced by a new head, which has everything to learn; name a layer bef"),
        ("data", "neither 'data' nor a layer that it depends on learns"),
        ("accuracy", "layer 'accuracy' has no part in the TRAIN phase"),
    ],
)
def test_layer_up_to_which_nothing_can_be_frozen_is_refused(up_to: str, message: str) -> None:
    with pytest.raises(ToolError, match=re.escape(message)):
        freeze(net_of(), heads=["fc"], up_to=up_to)


def test_name_with_a_globs_characters_is_a_name_first() -> None:
    net = net_of(NET.replace('name: "conv"', 'name: "conv[a]"'))
    assert multipliers(freeze(net, ["conv[a]"]), "conv[a]") == [(0, 0), (0, 0)]


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("relu", "is a layer without anything to learn"),
        ("ip*", "matches no layer that learns"),
        ("fc", "is replaced by a new head, which has everything to learn"),
    ],
)
def test_what_cannot_be_frozen_is_refused_with_what_can(pattern: str, reason: str) -> None:
    message = f"freeze: '{pattern}' {reason}. What it can be: conv, norm"
    with pytest.raises(ToolError, match=re.escape(message)):
        freeze(net_of(), [pattern], ["fc"])


def test_net_in_which_nothing_learns_is_refused() -> None:
    with pytest.raises(ToolError, match=r"no layer of the net learns.* of freeze: conv, fc, norm"):
        freeze(net_of(), ["*"])
    with pytest.raises(ToolError, match="no layer of the net learns"):
        freeze(net_of(), ["conv", "fc"])  # BatchNorm never learns by gradient


def test_shared_blob_freezes_in_all_layers_or_none() -> None:
    twin = 'layer { name: "twin" type: "InnerProduct" param { name: "w" } }'
    net = net_of(NET.replace("decay_mult: 3 }", 'decay_mult: 3 name: "w" }') + twin)
    with pytest.raises(ToolError, match=r"blob 'w' is shared by fc, twin; .*freeze twin too"):
        freeze(net, ["fc"])
    assert multipliers(freeze(net, ["fc", "twin"]), "twin") == [(0, 0), (0, 0)]
