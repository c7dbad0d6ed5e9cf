"""What recurrent layers keep from one forward to the next."""

from __future__ import annotations

import numpy as np
import pytest
from bvlc import Build
from bvlc_questions import ask
from google.protobuf import text_format
from layer_cases import TRAIN, normal

from caffe.proto import caffe_pb2
from recaffe.context import context
from recaffe.errors import LayerError
from recaffe.net import Net

TYPES = ["LSTM", "RNN"]
SETTINGS = (
    'num_output: 3 weight_filler { type: "constant" value: 0.4 } '
    'bias_filler { type: "constant" value: 0.1 }'
)


def text(type_: str, steps: int = 4, streams: int = 2, more: str = "") -> str:
    return f"""
layer {{ name: "x" type: "Input" top: "x"
  input_param {{ shape {{ dim: {steps} dim: {streams} dim: 2 }} }} }}
layer {{ name: "cont" type: "Input" top: "cont"
  input_param {{ shape {{ dim: {steps} dim: {streams} }} }} }}
layer {{ name: "it" type: "{type_}" bottom: "x" bottom: "cont" top: "top"
  recurrent_param {{ {SETTINGS} }} {more} }}
"""


def make_net(*arguments, **options) -> Net:
    return Net(text_format.Parse(text(*arguments, **options), caffe_pb2.NetParameter()), TRAIN)


def top(net: Net, x: np.ndarray, cont: np.ndarray | float) -> np.ndarray:
    net.blobs["x"].data[...] = x
    net.blobs["cont"].data[...] = cont
    net.forward_layers(0, 2)
    return net.blobs["top"].data.copy()


@pytest.mark.parametrize("type_", TYPES)
def test_a_sequence_may_be_longer_than_the_steps(type_):
    x = normal(8, 2, 2)
    whole = top(make_net(type_, steps=8), x, 1)
    net = make_net(type_, steps=4)
    halves = [top(net, part, 1) for part in (x[:4], x[4:])]
    np.testing.assert_allclose(np.concatenate(halves), whole, rtol=1e-6)
    assert not np.allclose(top(make_net(type_), x[4:], 1), halves[1])


@pytest.mark.parametrize("type_", TYPES)
def test_cont_forgets_stream_by_stream(type_):
    net, x = make_net(type_), normal(4, 2, 2)
    fresh, going_on = top(net, x, 1), top(net, x, 1)
    cont = np.ones((4, 2))
    cont[0, 0] = 0
    found = top(net, x, cont)
    np.testing.assert_array_equal(found[:, 0], fresh[:, 0])
    assert not np.allclose(found[:, 1], fresh[:, 1])
    assert not np.allclose(going_on, fresh)


@pytest.mark.parametrize("type_", TYPES)
def test_no_gradient_passes_to_the_forward_before(type_):
    net, x = make_net(type_, more="loss_weight: 1"), normal(4, 2, 2)
    top(net, x, 1)
    top(net, x, 1)
    net.backward_layers(2, 0)  # would fail, had the first forward's graph been kept


@pytest.mark.parametrize("type_", TYPES)
def test_a_whole_step_keeps_the_state_too(type_):
    found = []
    for keep in (True, False):
        net = make_net(type_, more="loss_weight: 1")
        net.blobs["x"].data[...], net.blobs["cont"].data[...] = normal(4, 2, 2), 1
        found.append([net.forward_backward(keep=keep) for _ in range(3)])
    assert found[0] == pytest.approx(found[1], rel=1e-6)
    assert len(set(found[0])) == 3


def test_a_compiled_step_keeps_the_state_too(monkeypatch):
    monkeypatch.setattr(context, "compiles", True)
    test_a_whole_step_keeps_the_state_too("RNN")


@pytest.mark.parametrize("type_", TYPES)
def test_the_number_of_steps_is_fixed(type_):
    net = make_net(type_)
    net.blobs["x"].reshape(5, 2, 2)
    net.blobs["cont"].reshape(5, 2)
    with pytest.raises(LayerError, match=rf"'it' \({type_}\): was set up for 4 time steps.* 5"):
        net.reshape()


@pytest.mark.parametrize("type_", TYPES)
def test_weights_do_not_fit_inputs_of_another_size(type_):
    net = make_net(type_)
    net.blobs["x"].reshape(4, 2, 3)
    with pytest.raises(LayerError, match=r"weights are for \[2\] inputs a time step.*give \[3\]"):
        net.reshape()


@pytest.mark.oracle
@pytest.mark.parametrize("type_", TYPES)
def test_bvlc_keeps_the_same_state(bvlc: Build, type_):
    """Also as streams come and go: fewer, as many again, more than ever."""
    x, cont = normal(4, 3, 2), np.ones((4, 3))
    cont[2, 1] = 0
    counts = [2, 2, 1, 2, 2, 3, 3]
    net, ours = make_net(type_), []
    for streams in counts:
        net.blobs["x"].reshape(4, streams, 2)
        net.blobs["cont"].reshape(4, streams)
        ours.append(top(net, x[:, :streams], cont[:, :streams]))
    theirs = ask(bvlc, f"""
made, answer = net({text(type_)!r}, caffe.TRAIN), []
x, cont = np.array({x.tolist()!r}), np.array({cont.tolist()!r})
for streams in {counts!r}:
    made.blobs["x"].reshape(4, streams, 2)
    made.blobs["cont"].reshape(4, streams)
    made.blobs["x"].data[...] = x[:, :streams]
    made.blobs["cont"].data[...] = cont[:, :streams]
    made.forward()
    answer.append(made.blobs["top"].data.tolist())
""")  # fmt: skip
    for found, expected in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5)
