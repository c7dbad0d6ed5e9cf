"""BatchNorm in a patched net: whose statistics stay, and what is frozen with them."""

from __future__ import annotations

from typing import Any

import pytest
from patch_nets import layer_named, multipliers, net_of

from caffetools import batch_norm, patch
from caffetools.cli import ToolError
from caffetools.freezing import to_freeze
from caffetools.settings import check_settings

# One block in place with a ReLU between, one not; and a shortcut with a BatchNorm after it.
NET = """
layer { name: "data" type: "Data" top: "data" top: "label" }
layer { name: "a" type: "Convolution" bottom: "data" top: "a" }
layer { name: "a_relu" type: "ReLU" bottom: "a" top: "a" }
layer { name: "a_norm" type: "BatchNorm" bottom: "a" top: "a" param { lr_mult: 0 } }
layer { name: "a_scale" type: "Scale" bottom: "a" top: "a" scale_param { bias_term: true } }
layer { name: "b" type: "Convolution" bottom: "a" top: "b" }
layer { name: "b_norm" type: "BatchNorm" bottom: "b" top: "b_norm" }
layer { name: "b_scale" type: "Scale" bottom: "b_norm" top: "b_scale" }
layer { name: "sum" type: "Eltwise" bottom: "a" bottom: "b_scale" top: "sum" }
layer { name: "sum_norm" type: "BatchNorm" bottom: "sum" top: "sum_norm" }
layer { name: "fc" type: "InnerProduct" bottom: "sum_norm" top: "fc" }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" }
"""


def patched(**settings: Any) -> Any:
    return patch.patch_net(net_of(NET), check_settings(settings))


def with_kept_statistics(net: Any) -> set[str]:
    return {layer.name for layer in net.layer if layer.batch_norm_param.use_global_stats}


def test_batch_norm_and_scale_are_frozen_with_their_layer() -> None:
    net = patched(freeze=["a"])
    assert with_kept_statistics(net) == {"a_norm"}
    for name in ("a", "a_scale"):
        assert multipliers(net, name) == [(0, 0), (0, 0)]
    assert multipliers(net, "b_scale") == []


def test_only_what_comes_right_after_follows() -> None:
    assert to_freeze(net_of(NET), ["b"]) == {"b", "b_norm", "b_scale"}
    assert to_freeze(net_of(NET), ["a_norm"]) == {"a_norm", "a_scale"}
    bare = NET.replace(
        'type: "BatchNorm" bottom: "a" top: "a" param { lr_mult: 0 }', 'type: "Power"'
    )
    assert to_freeze(net_of(bare), ["a"]) == {"a"}
    # After a Scale, and after two inputs, nothing does.
    assert batch_norm.followers(net_of(NET), ["a_scale", "b_scale"]) == set()
    assert to_freeze(net_of(NET), up_to="sum") == {
        *("a", "a_norm", "a_scale", "b", "b_norm", "b_scale"),
    }


def test_all_statistics_may_stay_while_layers_learn() -> None:
    net = patched(batch_norm="freeze")
    assert with_kept_statistics(net) == {"a_norm", "b_norm", "sum_norm"}
    assert multipliers(net, "b_scale") == [(0, 0)]
    assert multipliers(net, "a") == []


def test_statistics_may_go_on_under_frozen_layers() -> None:
    net = patched(freeze=["a", "b_norm"], batch_norm="update")
    assert with_kept_statistics(net) == set()
    assert multipliers(net, "a_scale") == []
    assert multipliers(net, "b_norm") == [(0, 0)] * 3


def test_statistics_have_no_rate_and_no_decay() -> None:
    for name in ("a_norm", "b_norm", "sum_norm"):
        assert multipliers(patched(), name) == [(0, 0)] * 3
        assert not layer_named(patched(), name).HasField("batch_norm_param")


def test_net_without_batch_norm_is_told_so() -> None:
    net = net_of('layer { name: "fc" type: "InnerProduct" }')
    with pytest.raises(ToolError, match="no layer of type BatchNorm"):
        patch.patch_net(net, {"batch_norm": "freeze"})
