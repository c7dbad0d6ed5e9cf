"""Which layers run backward, and which blobs and parameters get a gradient."""

from __future__ import annotations

import numpy as np
import pytest
from small_nets import (
    ACCURACY,
    DATA,
    LOSS,
    TINY,
    build,
    diffs,
    filled,
    inputs,
    ip,
    relu,
    run,
    run_back,
)

from recaffe.context import context
from recaffe.errors import LayerError


@pytest.fixture(autouse=True)
def _seeded() -> None:
    context.seed(1)


ALL = {"data": False, "label": False, "ip": True, "ip2": True, "ip[0]": True, "ip[1]": True,
       "ip2[0]": True, "ip2[1]": True}  # fmt: skip


def test_gradients_reach_what_learns():
    assert diffs(filled(TINY)) == ALL


def test_frozen_early_layers_get_none():
    frozen = ip("ip", "data", more="param { lr_mult: 0 } param { lr_mult: 0 }")
    text = DATA + frozen + relu("relu", "ip") + ip("ip2", "ip", 2) + LOSS
    assert diffs(filled(text)) == ALL | {"ip": False, "ip[0]": False, "ip[1]": False}


def test_a_frozen_parameter_gets_none_but_its_layer_passes_it_on():
    text = TINY.replace('top: "ip2" ', 'top: "ip2" param { lr_mult: 0 } ')
    assert diffs(filled(text)) == ALL | {"ip2[0]": False}


def test_propagate_down_false_cuts():
    text = TINY.replace('top: "ip2" ', 'top: "ip2" propagate_down: false ')
    cut = {"ip": False, "ip[0]": False, "ip[1]": False}
    assert diffs(filled(text)) == ALL | cut
    net = filled(text)
    net.blobs["ip"].diff[...] = 1
    # the layer above the cut does not run backward at all, not even from a diff that is there
    assert diffs(net) == ALL | cut | {"ip": True}
    assert (net.blobs["ip"].diff == 1).all()


def test_propagate_down_true_asks_for_a_gradient_of_the_data():
    text = TINY.replace('top: "ip" ', 'top: "ip" propagate_down: true ')
    assert diffs(filled(text)) == ALL | {"data": True}


def test_force_backward_reaches_all_but_labels():
    text = TINY.replace('top: "ip2" ', 'top: "ip2" param { lr_mult: 0 } ')
    net = filled("force_backward: true\n" + text)
    assert diffs(net) == ALL | {"data": True}
    net.blobs["label"].diff[...] = 7
    run(net)
    run_back(net)
    assert (net.blobs["label"].diff == 7).all()


def test_without_a_loss_there_is_no_gradient_unless_forced():
    text = inputs(data=(4, 3)) + ip("ip", "data")
    for force, expected in (("", False), ("force_backward: true\n", True)):
        net = filled(force + text)
        net.blobs["ip"].diff[...] = 1
        run(net)
        run_back(net)
        assert net.params["ip"][0].diff.any() == expected
        assert net.blobs["data"].diff.any() == expected


def test_branches_without_a_loss_do_not_disturb():
    """Accuracy and a dead end hang on the same blob as the loss."""
    dead = ip("dead", "ip") + ACCURACY
    with_dead, plain = filled(TINY + dead), filled(TINY)
    for name, blobs in plain.params.items():
        for ours, theirs in zip(with_dead.params[name], blobs, strict=True):
            ours.data[...] = theirs.data
    found = diffs(with_dead)
    assert not found["dead[0]"]
    assert not found["dead"]
    diffs(plain)
    for name, blobs in plain.params.items():
        for ours, theirs in zip(with_dead.params[name], blobs, strict=True):
            np.testing.assert_allclose(ours.diff, theirs.diff, rtol=1e-6, atol=1e-8)


def test_in_place_diff_is_the_gradient_at_the_layers_input():
    """As BVLC's build answers: ReLU's backward overwrites what came from above."""
    text = "force_backward: true\n" + inputs(data=(1, 4)) + relu("r", "data")
    text += 'layer { name: "s" type: "ReLU" bottom: "data" top: "out" }'
    net = build(text)
    net.blobs["data"].data[...] = [[-1, 2, -3, 4]]
    run(net)
    net.blobs["out"].diff[...] = 3
    run_back(net)
    np.testing.assert_array_equal(net.blobs["data"].diff, [[0, 3, 0, 3]])


def test_loss_weight_scales_gradients_and_the_sum_but_not_the_top():
    losses, gradients = [], []
    for weight in (1, 3):
        net = filled(TINY.replace('top: "loss"', f'top: "loss" loss_weight: {weight}'))
        for blobs, seed in zip(net.params.values(), (1, 2), strict=True):
            blobs[0].data[...] = np.random.default_rng(seed).normal(size=blobs[0].shape)
        run(net)
        run_back(net)
        losses.append((float(net.blobs["loss"].data), net.loss()))
        gradients.append(net.params["ip"][0].diff.copy())
        assert float(net.blobs["loss"].diff) == weight
    assert losses[1][0] == losses[0][0]
    assert losses[1][1] == pytest.approx(3 * losses[0][1], rel=1e-6)
    np.testing.assert_allclose(gradients[1], 3 * gradients[0], rtol=1e-5)


def test_a_loss_weight_of_zero_is_no_loss():
    net = filled(TINY.replace('top: "loss"', 'top: "loss" loss_weight: 0'))
    assert not any(diffs(net).values())
    assert net.loss() == 0


LEARNT_LABEL = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 4 dim: 3 } } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
  inner_product_param { num_output: 3 } }
layer { name: "label" type: "InnerProduct" bottom: "data" top: "label" SPECS
  inner_product_param { num_output: 1 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" TOLD }
"""
FROZEN = "param { lr_mult: 0 } param { lr_mult: 0 }"


@pytest.mark.parametrize("keep", [True, False], ids=["layer by layer", "whole"])
def test_a_learnt_label_is_refused_backward_and_not_forward(keep):
    net = build(LEARNT_LABEL.replace("SPECS", "").replace("TOLD", ""))
    run(net)
    with pytest.raises(LayerError, match=r"'loss' .*: bottom 1, 'label', has no gradient.*lr_mult"):
        net.forward_backward(keep)
    for specs, told in ((FROZEN, ""), ("", "propagate_down: true propagate_down: false")):
        net = build(LEARNT_LABEL.replace("SPECS", specs).replace("TOLD", told))
        net.blobs["data"].data[...] = 0.01
        net.forward_backward(keep)
        assert net.params["ip"][0].diff.any()
        assert not net.params["label"][0].diff.any()
