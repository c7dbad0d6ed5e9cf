"""lr_mult and decay_mult by layer or pattern."""

from __future__ import annotations

import re
from typing import Any

import pytest
from patch_nets import multipliers, net_of

from caffetools.cli import ToolError
from caffetools.multipliers import set_multipliers

NET = """
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
        param { lr_mult: 2 decay_mult: 1 } param { lr_mult: 4 decay_mult: 0 } }
layer { name: "norm" type: "BatchNorm" bottom: "conv1" top: "conv1" }
layer { name: "conv2" type: "Convolution" bottom: "conv1" top: "conv2" }
layer { name: "fc" type: "InnerProduct" bottom: "conv2" top: "fc"
        param { lr_mult: 0 } param { lr_mult: 1 } }
layer { name: "drop" type: "Dropout" bottom: "fc" top: "fc" }
"""


def lr_mults(net: Any, name: str) -> list[float]:
    return [pair[0] for pair in multipliers(net, name)]


def test_biases_follow_in_proportion() -> None:
    net = net_of(NET)
    patched = set_multipliers(net, "lr_mult", {"conv*": 0.5})
    assert multipliers(patched, "conv1") == [(0.5, 1), (1, 0)]
    assert multipliers(patched, "conv2") == [(0.5, 1), (0.5, 1)]
    assert multipliers(patched, "norm") == []
    assert multipliers(patched, "fc") == [(0, 1), (1, 1)]
    assert net == net_of(NET)
    decayed = set_multipliers(net, "decay_mult", {"conv1": 3})
    assert multipliers(decayed, "conv1") == [(2, 3), (4, 0)]


def test_where_there_is_no_proportion_all_get_the_number() -> None:
    assert lr_mults(set_multipliers(net_of(NET), "lr_mult", {"fc": 3}), "fc") == [3, 3]


def test_list_tells_each_blobs() -> None:
    assert lr_mults(set_multipliers(net_of(NET), "lr_mult", {"fc": [1, 0]}), "fc") == [1, 0]
    with pytest.raises(ToolError, match="1 numbers for layer 'fc', which learns 2 blobs"):
        set_multipliers(net_of(NET), "lr_mult", {"fc": [1]})


def test_a_name_goes_before_a_pattern() -> None:
    for values in ({"*": 1, "conv1": 6}, {"conv1": 6, "*": 1}):
        patched = set_multipliers(net_of(NET), "lr_mult", values)
        assert (lr_mults(patched, "conv1"), lr_mults(patched, "conv2")) == ([6, 12], [1, 1])


def test_patterns_must_not_differ_on_a_layer() -> None:
    assert set_multipliers(net_of(NET), "lr_mult", {"conv*": 2, "*1": 2})
    with pytest.raises(ToolError, match=r"lr_mult: 'conv\*' and '\*1' both match 'conv1'"):
        set_multipliers(net_of(NET), "lr_mult", {"conv*": 2, "*1": 1})


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("conv1", "is frozen"),
        ("norm", "is a BatchNorm, which no gradient moves"),
        ("fc", "is replaced by a new head"),
        ("drop", "is a layer without anything to learn"),
        ("ip*", "matches no layer that learns"),
    ],
)
def test_what_has_no_multiplier_is_refused(pattern: str, reason: str) -> None:
    with pytest.raises(ToolError, match=re.escape(f"lr_mult: {pattern!r} {reason}")) as error:
        set_multipliers(net_of(NET), "lr_mult", {pattern: 1}, ["fc"], ["conv1"])
    assert str(error.value).endswith("What it can be: conv2")


def test_layers_that_share_a_blob_must_agree() -> None:
    shared = NET.replace("decay_mult: 1 }", 'decay_mult: 1 name: "w" }')
    twin = 'layer { name: "twin" type: "InnerProduct" param { name: "w" lr_mult: 2 } }'
    assert set_multipliers(net_of(shared + twin), "lr_mult", {"conv1": 3, "twin": 3})
    with pytest.raises(ToolError, match=r"lr_mult: blob 'w' is shared by conv1, twin.* 2\.0, 3\.0"):
        set_multipliers(net_of(shared + twin), "lr_mult", {"conv1": 3})
