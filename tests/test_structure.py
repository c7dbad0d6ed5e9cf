"""Layers whose gradients, errors or memory do not fit a case: choosing, looking up, sharing."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from bvlc import Build
from bvlc_questions import ask
from google.protobuf import text_format
from layer_cases import CASES, TRAIN, labels, made_layer, normal

from caffe.proto import caffe_pb2
from recaffe.errors import LayerError
from recaffe.net import Net


def made(text: str) -> Net:
    return Net(text_format.Parse(text, caffe_pb2.NetParameter()), TRAIN)


def source(name: str, *shape: int) -> str:
    dims = " ".join(f"dim: {size}" for size in shape)
    return (
        f'layer {{ name: "{name}" type: "Input" top: "{name}" '
        f"input_param {{ shape {{ {dims} }} }} }}\n"
    )


def learned(name: str, *shape: int) -> str:
    """A blob that has a gradient without force_backward, which some layers do not survive."""
    return source(f"{name}_in", *shape) + (
        f'layer {{ name: "{name}" type: "Bias" bottom: "{name}_in" top: "{name}" '
        "bias_param { axis: 0 num_axes: 0 } }\n"
    )


def forward(net: Net) -> None:
    net.forward_layers(0, len(net.layers) - 1)


def backward(net: Net) -> None:
    net.backward_layers(len(net.layers) - 1, 0)


# -- gradients that BVLC's build gives only to what asks for one ------------------------------

# what a net is made of, its tops, and the values of its Input blobs
CHOOSERS = {
    "Filter": (
        learned("a", 4, 2, 3) + learned("b", 4, 2) + source("s", 4) + 'layer { name: "it" '
        'type: "Filter" bottom: "a" bottom: "b" bottom: "s" top: "t" top: "u" '
        "loss_weight: 1 loss_weight: 1 }",
        ["t", "u"],
        {"a_in": normal(4, 2, 3), "b_in": normal(4, 2, seed=1), "s": labels(0, 1, 0, 2)},
    ),
    "BatchReindex": (
        learned("a", 3, 2) + source("i", 5) + 'layer { name: "it" '
        'type: "BatchReindex" bottom: "a" bottom: "i" top: "t" loss_weight: 1 }',
        ["t"],
        {"a_in": normal(3, 2), "i": labels(2, 0, 2, 2, 0)},
    ),
    "Embed": (
        source("i", 2, 3) + 'layer { name: "it" type: "Embed" bottom: "i" top: "t" '
        "embed_param { num_output: 2 input_dim: 4 } loss_weight: 1 }",
        ["t"],
        {"i": labels(3, 1, 1, 0, 3, 1).reshape(2, 3)},
    ),
}  # fmt: skip

GRADIENTS = """
text, tops, values = json.loads(sys.argv[1])
made = net(text, caffe.TRAIN)
for name, value in values.items():
    made.blobs[name].data[...] = value
made.forward()
random = np.random.RandomState(5)
for name in tops:
    made.blobs[name].diff[...] = random.normal(size=made.blobs[name].shape)
made.backward()
answer = {name: made.blobs[name].diff for name in ("a", "b") if name in made.blobs}
for layer, blobs in made.params.items():
    answer.update({"%s %d" % (layer, i): blob.diff for i, blob in enumerate(blobs)})
answer.update({name: made.blobs[name].data for name in tops if name in ("t", "u")})
"""


@pytest.mark.oracle
@pytest.mark.parametrize("type_", CHOOSERS)
def test_gradients_of_what_is_chosen_are_bvlcs(bvlc: Build, type_):

    text, tops, values = CHOOSERS[type_]
    listed = {name: value.tolist() for name, value in values.items()}
    theirs = ask(bvlc, GRADIENTS, json.dumps([text, tops, listed]))
    net = made(text)
    for name, value in values.items():
        net.blobs[name].data[...] = value
    forward(net)
    random = np.random.RandomState(5)
    for name in tops:
        net.blobs[name].diff[...] = random.normal(size=net.blobs[name].shape)
    backward(net)
    ours = {name: net.blobs[name].diff for name in ("a", "b") if name in net.blobs}
    for layer, blobs in net.params.items():
        ours |= {f"{layer} {index}": blob.diff for index, blob in enumerate(blobs)}
    assert set(theirs) == set(ours) | set(tops)
    for name, found in ours.items():
        assert found.any()
        np.testing.assert_allclose(found, theirs[name], rtol=1e-5, atol=1e-6, err_msg=name)
    for name in tops:
        np.testing.assert_allclose(net.blobs[name].data, np.float32(theirs[name]), rtol=1e-6)


# -- Filter ---------------------------------------------------------------------------------

FILTER = learned("a", 3, 4) + source("s", 3) + """
layer { name: "it" type: "Filter" bottom: "a" bottom: "s" top: "t" }
layer { name: "ip" type: "InnerProduct" bottom: "t" top: "ip"
        inner_product_param { num_output: 2 weight_filler { value: 1 } } }
layer { name: "sum" type: "Reduction" bottom: "ip" top: "sum" loss_weight: 1 }
"""  # fmt: skip


def test_what_follows_a_filter_takes_the_shape_it_gives():
    net = made(FILTER)
    assert net.blobs["t"].shape == (3, 4)  # before anything passed
    net.blobs["a_in"].data[...] = bottom = normal(3, 4)
    for selector in ([0, 1, 1], [1, 0, 0], [1, 1, 1], [0, 0, 0], [0, 0, 1]):
        net.blobs["s"].data[...] = selector
        kept = bottom[np.array(selector) != 0]
        for _ in range(2):
            forward(net)
            backward(net)
        assert net.blobs["t"].shape == (sum(selector), 4)
        assert net.blobs["ip"].shape == (sum(selector), 2)
        np.testing.assert_array_equal(net.blobs["t"].data, kept)
        assert net.blobs["sum"].data == pytest.approx(2 * kept.sum(), abs=1e-5)
        expected = 2 * np.outer(np.array(selector) != 0, np.ones(4))
        np.testing.assert_array_equal(net.blobs["a"].diff, expected)


def test_the_whole_step_takes_the_shape_that_a_filter_gives_too():
    net = made(FILTER)
    net.blobs["a_in"].data[...] = bottom = normal(3, 4)
    for selector in ([0, 1, 1], [0, 0, 0], [1, 0, 0]):
        net.blobs["s"].data[...] = selector
        net.clear_param_diffs()
        loss = net.forward_backward(keep=False)
        kept = bottom[np.array(selector) != 0]
        assert loss == pytest.approx(2 * kept.sum(), abs=1e-5)
        np.testing.assert_allclose(
            net.params["ip"][0].diff, np.tile(kept.sum(0), (2, 1)), rtol=1e-5, atol=1e-6
        )


@pytest.mark.oracle
def test_where_nothing_passes_bvlc_gives_empty_blobs_and_dies_going_back(bvlc: Build):
    """Ours gives the same, and a gradient of zero."""
    question = """
import os
made = net(sys.argv[1], caffe.TRAIN)
made.blobs["a_in"].data[...] = 1
made.blobs["s"].data[...] = 0
made.forward()
answer = {name: list(made.blobs[name].data.shape) for name in ("t", "ip", "sum")}
answer["loss"] = float(made.blobs["sum"].data)
child = os.fork()
if not child:
    made.backward()
    os._exit(0)
answer["status"] = os.waitpid(child, 0)[1]
"""
    theirs = ask(bvlc, question, FILTER)
    assert theirs.pop("status") == 8  # a division by zero
    net = made(FILTER)
    net.blobs["a_in"].data[...] = 1
    net.blobs["a"].diff[...] = 7
    forward(net)
    ours = {name: list(net.blobs[name].shape) for name in ("t", "ip", "sum")}
    assert ours | {"loss": float(net.blobs["sum"].data)} == theirs
    backward(net)
    assert not net.blobs["a"].diff.any()


# -- indices out of range ---------------------------------------------------------------------


@pytest.mark.parametrize("index", [3, -1, np.nan])
def test_embed_refuses_indices_that_bvlc_reads_past_the_weights_for(index):
    layer = made_layer("Embed", "embed_param { num_output: 2 input_dim: 3 }", (2,))
    params = [blob.data_tensor for blob in layer.blobs]
    with pytest.raises(LayerError, match=r"'it' .*found, but input_dim is 3, so .* from 0 to 2"):
        layer.forward([torch.tensor([0.0, index])], params)


@pytest.mark.parametrize("index", [3, -1, -0.5, np.nan])
def test_batch_reindex_refuses_items_that_are_not_there(index):
    layer = made_layer("BatchReindex", "", (3, 2), (2,))
    with pytest.raises(LayerError, match=rf"index {index:g} found, but there are 3 items, so"):
        layer.forward([torch.zeros(3, 2), torch.tensor([0.0, index])], [])


# -- Silence, Parameter ---------------------------------------------------------------------


def test_silence_takes_a_blob_from_the_outputs_and_gives_it_a_gradient_of_zero():
    text = "force_backward: true\n" + source("a", 2, 3) + source("b", 2)
    assert made(text).outputs == ["a", "b"]
    net = made(text + 'layer { name: "it" type: "Silence" bottom: "a" }')
    assert net.outputs == ["b"]
    net.blobs["a"].diff[...] = 7
    forward(net)
    backward(net)
    assert not net.blobs["a"].diff.any()


def test_a_silenced_branch_does_not_hide_the_gradient_of_the_other():
    text = (
        learned("a", 2, 3)
        + """
        layer { name: "it" type: "Silence" bottom: "a" }
        layer { name: "sum" type: "Reduction" bottom: "a" top: "sum" loss_weight: 1 }"""
    )
    for keep in (True, False):
        net = made(text)
        assert net.forward_backward(keep=keep) == 0
        assert net.params["a"][0].diff == 6


PARAMETER = """
layer { name: "p" type: "Parameter" top: "p" parameter_param { shape { dim: 2 } } }
layer { name: "sum" type: "Reduction" bottom: "p" top: "sum" loss_weight: 3 }
"""


@pytest.mark.oracle
def test_gradients_of_a_parameter_add_up_unlike_bvlcs(bvlc: Build):
    """There, the last one stands: the top's diff is the parameter's."""
    question = """
made = net(sys.argv[1], caffe.TRAIN)
answer = []
for _ in range(2):
    made.forward()
    made.backward()
    answer.append(made.params["p"][0].diff.tolist())
"""
    assert ask(bvlc, question, PARAMETER) == [[3, 3], [3, 3]]
    for keep in (True, False):
        net = made(PARAMETER)
        for passes in (1, 2):
            net.forward_backward(keep=keep)
            np.testing.assert_array_equal(net.params["p"][0].diff, [3 * passes] * 2)


# -- precision --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.type in ("Scale", "Bias", "PReLU", "Embed")],
    ids=lambda case: case.name,
)  # fmt: skip
def test_bottoms_may_be_of_half_the_parameters_precision(case):
    """As they are when training in bfloat16."""
    layer = case.made()
    values = [torch.from_numpy(np.array(bottom)) for bottom in case.bottoms]
    params = [blob.data_tensor for blob in layer.blobs]
    (expected,) = layer.forward(values, params)
    half = [tensor.bfloat16() for tensor in values]
    with torch.autocast("cpu", torch.bfloat16):
        (top,) = layer.forward(half, params)
    torch.testing.assert_close(top.float(), expected, rtol=0.05, atol=0.05)


# -- memory -----------------------------------------------------------------------------------

COPIES = {
    "slice": 'type: "Slice" top: "t" top: "u"',
    "concat": 'type: "Concat" bottom: "a" top: "t"',
    "crop": 'type: "Crop" bottom: "like" top: "t" crop_param { axis: 0 }',
    "tile": 'type: "Tile" top: "t" tile_param { tiles: 1 }',
    "power": 'type: "Power" top: "t"',
    "clip": 'type: "Clip" top: "t" clip_param { min: -9 max: 9 }',
    "eltwise": 'type: "Eltwise" bottom: "like" top: "t" eltwise_param { coeff: 1 coeff: 0 }',
    "dropout": 'type: "Dropout" top: "t" phase: TEST',
    "filter": 'type: "Filter" bottom: "s" top: "t"',
    "batch reindex": 'type: "BatchReindex" bottom: "s" top: "t"',
    "bias": 'type: "Bias" top: "t"',
    "exp": 'type: "Exp" top: "t" exp_param { base: 1 }',
}


@pytest.mark.parametrize("name", COPIES)
def test_a_top_does_not_change_with_what_is_written_to_the_bottom_afterwards(name):
    text = source("a", 2, 2) + source("like", 2, 2) + source("s", 2)
    net = made(text + f'layer {{ name: "it" bottom: "a" {COPIES[name]} }}')
    net.blobs["a"].data[...] = 1
    net.blobs["s"].data[...] = [1, 1]
    forward(net)
    net.blobs["a"].data[...] = 5
    np.testing.assert_array_equal(net.blobs["t"].data, np.ones(net.blobs["t"].shape))
    net.blobs["t"].data[...] = 6
    np.testing.assert_array_equal(net.blobs["a"].data, np.full((2, 2), 5))


def test_gradients_do_not_change_with_what_is_written_to_the_top_afterwards():
    net = made(
        "force_backward: true\n" + source("a", 2, 3)
        + 'layer { name: "it" bottom: "a" top: "t" type: "Bias" '
        + "bias_param { axis: 0 num_axes: -1 } }"
    )  # fmt: skip
    forward(net)
    net.blobs["t"].diff[...] = 1
    backward(net)
    net.blobs["t"].diff[...] = 5
    np.testing.assert_array_equal(net.blobs["a"].diff, np.ones((2, 3)))
    for blob in net.learnable:
        np.testing.assert_array_equal(blob.diff, np.ones((2, 3)))
