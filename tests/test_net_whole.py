"""A step as one graph gives what it gives layer by layer, and keeps nothing else."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
import torch
from recipes import read_model, without_chance
from small_nets import ACCURACY, DATA, LOSS, TINY, build, filled, inputs, ip, relu, run

from recaffe.context import context
from recaffe.errors import LayerError
from recaffe.layers import BlobLayer
from recaffe.layers.base import _LAYERS
from recaffe.net import Net
from recaffe.net.whole import WholeStep

BRANCHES = DATA + ip("ip", "data", more='param { name: "w" } param { lr_mult: 0 }')
BRANCHES += relu("r", "ip") + ip("a", "ip", 3, 'param { name: "w" }') + ip("b", "ip", 3)
BRANCHES += ip("ip2", "a", 2, "propagate_down: false") + LOSS
BRANCHES += LOSS.replace('"l"', '"m"').replace('"ip2"', '"b"').replace('"loss"', '"more"')
NETS = {
    "tiny": TINY,
    "branches, sharing, no gradient": BRANCHES,
    "two losses on one blob": TINY + LOSS.replace('"l"', '"m"').replace('top: "loss"', ""),
    "a loss that goes on": TINY + 'layer { name: "p" type: "Power" bottom: "loss" top: "p" '
    "power_param { scale: 10 } loss_weight: 1 }",
    "frozen": DATA + ip("ip", "data", 3, "param { lr_mult: 0 } param { lr_mult: 0 }")
    + relu("r", "ip") + ip("ip2", "ip", 2) + LOSS + ACCURACY,
    "a blob overwritten behind its back": DATA + ip("ip", "data")
    + 'layer { name: "f" type: "Flatten" bottom: "ip" top: "f" }' + relu("r", "f")
    + ip("a", "f", 2) + ip("ip2", "ip", 2) + LOSS
    + 'layer { name: "e" type: "EuclideanLoss" bottom: "a" bottom: "ip2" top: "e" }',
    "permissive": inputs(data=(4, 2), label=(4,))
    + ip("ip", "data", 4, 'param { name: "w" share_mode: PERMISSIVE }')
    + ip("ip2", "ip", 2, 'param { name: "w" share_mode: PERMISSIVE }') + LOSS,
}  # fmt: skip


def pair(text: str) -> tuple[Net, Net]:
    """The same net twice, with the same values."""
    nets = []
    for _ in range(2):
        context.seed(1)
        nets.append(filled(text))
    return nets[0], nets[1]


def assert_same_gradients(whole: Net, layers: Net) -> None:
    assert any(blob.diff.any() for blob in layers.learnable)
    for place, ours, expected in zip(
        layers.param_places, whole.learnable, layers.learnable, strict=True
    ):
        largest = np.abs(expected.diff).max()
        np.testing.assert_allclose(
            ours.diff, expected.diff, rtol=0, atol=1e-6 * largest, err_msg=str(place)
        )


@pytest.mark.parametrize("name", NETS)
def test_gradients_and_outputs_are_those_of_layer_by_layer(name):
    whole, layers = pair(NETS[name])
    for _ in range(2):  # diffs add up
        assert whole.forward_backward(keep=False) == layers.forward_backward() > 0
    assert_same_gradients(whole, layers)
    for output in layers.outputs:
        np.testing.assert_array_equal(whole.blobs[output].data, layers.blobs[output].data)


def test_nothing_is_kept_of_blobs_that_nobody_holds():
    net, _ = pair(TINY)
    net.forward_backward()
    held = net.blobs["ip2"].data
    seen = held.copy()
    net.blobs["data"].data[...] += 1
    net.forward_backward(keep=False)
    assert not net.blobs["ip"].data.any()
    assert not net.blobs["ip2"].diff.any()
    np.testing.assert_array_equal(held, seen)
    assert net.blobs["data"].data.any()
    net.forward_backward()
    assert (held != seen).any()
    assert net.blobs["ip"].data.any()
    assert net.blobs["ip2"].diff.any()


def test_nothing_is_kept_of_layers_that_were_run_one_by_one_before():
    net = filled(TINY)
    run(net)
    seen = weakref.ref(net.blobs["ip"].data_tensor.untyped_storage())
    net.forward_backward(keep=False)
    gc.collect()
    assert seen() is None


def test_memory_is_freed_on_the_way():
    """Without a gradient that needs it, a top dies after its consumer."""
    text = DATA + ip("ip", "data", 3) + "".join(ip(f"d{i}", f"d{i - 1}" if i else "ip", 3)
                                               for i in range(5))  # fmt: skip
    net = filled(text + ip("ip2", "d4", 2) + LOSS)
    alive: list[int] = []
    tensors: list = []
    for layer in net.layers:
        if layer.type != "InnerProduct":
            continue
        forward = layer.forward

        def spy(bottoms, params, forward=forward):
            alive.append(sum(ref() is not None for ref in tensors))
            (top,) = forward([b.detach() for b in bottoms], [p.detach() for p in params])
            tensors.append(weakref.ref(top))
            return [top]

        layer.forward = spy
    net.forward_backward(keep=False)
    assert len(alive) == 7
    assert max(alive) <= 2


def test_reshaped_inputs_are_followed():
    whole, layers = pair(TINY)
    for net in (whole, layers):
        net.blobs["data"].reshape(2, 3)
        net.blobs["label"].reshape(2)
        net.blobs["data"].data[...] = [[1, 2, 3], [3, 2, 1]]
        net.blobs["label"].data[...] = [1, 0]
    assert whole.forward_backward(keep=False) == layers.forward_backward()
    assert_same_gradients(whole, layers)
    assert whole.forward_backward() == layers.forward_backward()
    assert whole.blobs["ip"].shape == (2, 3)


def test_a_diff_that_the_user_gave_a_loss_counts():
    whole, layers = pair(TINY)
    for net in (whole, layers):
        net.blobs["loss"].diff[...] = 3
        net.forward_backward(keep=net is layers)
    assert_same_gradients(whole, layers)


def test_layers_that_work_on_blobs_run_one_by_one(monkeypatch):
    class Double(BlobLayer):
        type = "Double"

        def top_shapes(self, bottom_shapes):
            return list(bottom_shapes)

        def forward_blobs(self):
            self.top_blobs[0].data[...] = 2 * self.bottom_blobs[0].data

        def backward_blobs(self, propagate_down):
            if propagate_down[0]:
                self.bottom_blobs[0].diff[...] = 2 * self.top_blobs[0].diff

    monkeypatch.setitem(_LAYERS, "Double", Double)
    text = DATA + ip("ip", "data") + relu("d", "ip", "twice").replace("ReLU", "Double")
    net = filled(text + ip("ip2", "twice", 2) + LOSS)
    assert not WholeStep.can_run(net)
    assert WholeStep.can_run(build(TINY))
    net.forward_backward(keep=False)
    np.testing.assert_array_equal(net.blobs["twice"].data, 2 * net.blobs["ip"].data)
    np.testing.assert_array_equal(net.blobs["ip"].diff, 2 * net.blobs["twice"].diff)
    assert net.params["ip"][0].diff.any()


def test_half_precision_is_near_and_keeps_float32_where_it_adds_up():
    whole, layers = pair(TINY)
    context.set_precision("bf16")
    try:
        loss = whole.forward_backward(keep=False)
        # What is looked at stays float32.
        looked_at = whole.forward_backward()
    finally:
        context.set_precision("float32")
    exact = layers.forward_backward()
    assert loss != exact
    assert loss == pytest.approx(exact, rel=0.02)
    assert looked_at == exact
    whole.clear_param_diffs()
    context.set_precision("bf16")
    try:
        whole.forward_backward(keep=False)
    finally:
        context.set_precision("float32")
    for ours, expected in zip(whole.learnable, layers.learnable, strict=True):
        assert ours.diff_tensor.dtype == torch.float32
        np.testing.assert_allclose(
            ours.diff, expected.diff, atol=0.05 * np.abs(expected.diff).max()
        )
    assert any(
        (a.diff != b.diff).any() for a, b in zip(whole.learnable, layers.learnable, strict=True)
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tiny", "branches, sharing, no gradient"])
def test_a_compiled_step_gives_the_same(name, monkeypatch):
    whole, layers = pair(NETS[name])
    monkeypatch.setattr(context, "compiles", True)
    for _ in range(2):
        loss, expected = whole.forward_backward(keep=False), layers.forward_backward()
        assert loss == pytest.approx(expected, rel=1e-6)
    assert_same_gradients(whole, layers)


def test_shapes_that_do_not_fit_are_told():
    net, _ = pair(TINY)
    net.blobs["data"].reshape(4, 5)
    with pytest.raises(LayerError, match=r"'ip' .InnerProduct.: .*3 inputs"):
        net.forward_backward(keep=False)


@pytest.mark.parametrize("model", ["lenet", "caffenet"])
def test_the_models_of_the_pipeline(model):
    net, _ = read_model(model)
    without_chance(net, 2)
    data = net.layer[0]
    shape = (2, 1, 28, 28) if model == "lenet" else (2, 3, 227, 227)
    del net.layer[:2]
    both = []
    for _ in range(2):
        context.seed(3)
        param = type(net)()
        param.CopyFrom(build(inputs(data=shape, label=(2,))).param)
        param.layer.extend(net.layer)
        both.append(Net(param, 0))
        both[-1].blobs["data"].data[...] = np.random.default_rng(0).normal(size=shape)
        both[-1].blobs["label"].data[...] = [3, 1]
    assert data.type == "Data"
    whole, layers = both
    assert whole.forward_backward(keep=False) == layers.forward_backward()
    assert_same_gradients(whole, layers)
    assert torch.is_grad_enabled()
