"""BatchNorm's statistics: what it remembers, who shares it, and that nothing learns it."""

from __future__ import annotations

import numpy as np
import pytest
from bvlc import Build
from bvlc_questions import ask
from google.protobuf import text_format
from layer_cases import TEST, TRAIN, normal

from caffe.proto import caffe_pb2
from recaffe.context import context
from recaffe.net import Net

LAYER = """layer {{ name: "{name}" type: "BatchNorm" bottom: "{bottom}" top: "{top}" {more}
  batch_norm_param {{ moving_average_fraction: 0.75 }} }}
"""
DATA = """layer { name: "data" type: "Input" top: "data"
  input_param { shape { dim: 4 dim: 3 dim: 2 } } }
"""


def make_net(text: str, phase: int = TRAIN) -> Net:
    net = Net(text_format.Parse(text, caffe_pb2.NetParameter()), phase)
    net.blobs["data"].data[...] = normal(4, 3, 2) + 1
    return net


def plain(more: str = "", top: str = "top") -> str:
    return DATA + LAYER.format(name="bn", bottom="data", top=top, more=more)


def remembered(steps: int) -> list[np.ndarray]:
    """The blobs after so many forwards of the same data."""
    values = (normal(4, 3, 2) + 1).astype(float).transpose(1, 0, 2).reshape(3, 8)
    weight = sum(0.75**step for step in range(steps))
    return [weight * values.mean(1), weight * values.var(1) * 8 / 7, np.array([weight])]


@pytest.mark.parametrize("kept", [False, True], ids=["unseen", "with a view kept"])
def test_training_remembers_a_fading_sum(kept):
    net = make_net(plain())
    views = [blob.data for blob in net.params["bn"]] if kept else None
    for steps in (1, 2, 3):
        net.forward_layers(0, 1)
        found = views or [blob.data for blob in net.params["bn"]]
        for blob, expected in zip(found, remembered(steps), strict=True):
            np.testing.assert_allclose(blob, expected, rtol=1e-5)


@pytest.mark.parametrize("compiles", [False, True])
def test_a_whole_step_remembers_once_and_learns_nothing(compiles, monkeypatch):
    monkeypatch.setattr(context, "compiles", compiles)
    net = make_net(plain("loss_weight: 1"))
    net.forward_backward(keep=False)
    for blob, expected in zip(net.params["bn"], remembered(1), strict=True):
        np.testing.assert_allclose(blob.data, expected, rtol=1e-5)
        assert not blob.diff.any()
    assert net.lr_mults == [0, 0, 0]


@pytest.mark.parametrize("keep", [False, True])
def test_two_layers_that_share_statistics_both_add_to_them(keep):
    shared = "".join(f'param {{ lr_mult: 0 name: "{name}" }} ' for name in "abc")
    net = make_net(
        DATA
        + LAYER.format(name="one", bottom="data", top="one", more=shared + " loss_weight: 1")
        + LAYER.format(name="two", bottom="data", top="two", more=shared + " loss_weight: 1")
    )
    net.forward_backward(keep=keep)
    for blob, expected in zip(net.params["one"], remembered(2), strict=True):
        np.testing.assert_allclose(blob.data, expected, rtol=1e-5)


def test_testing_remembers_nothing_and_divides_by_the_count():
    net = make_net(plain(), TEST)
    mean, variance, count = (blob.data for blob in net.params["bn"])
    mean[...], variance[...], count[...] = 2, 8, 2
    net.forward_layers(0, 1)
    expected = (net.blobs["data"].data - 1) / np.sqrt(4 + 1e-5)
    np.testing.assert_allclose(net.blobs["top"].data, expected, rtol=1e-6)
    assert [mean[0], variance[0], count[0]] == [2, 8, 2]
    # before any training the count is zero, and so is all that is divided by it
    count[...] = 0
    net.forward_layers(0, 1)
    expected = net.blobs["data"].data / np.sqrt(1e-5)
    np.testing.assert_allclose(net.blobs["top"].data, expected, rtol=1e-5)


def test_in_place_with_stored_statistics():
    """The gradient needs nothing of what was overwritten."""
    found = []
    for top in ("top", "data"):
        net = make_net(plain("loss_weight: 1", top), TEST)
        mean, variance, count = (blob.data for blob in net.params["bn"])
        mean[...], variance[...], count[...] = [1, 2, 3], [4, 1, 9], 2
        net.forward_backward()
        found.append([net.blobs[top].data.copy(), net.loss()])
    np.testing.assert_array_equal(found[0][0], found[1][0])
    assert found[0][1] == found[1][1]


@pytest.mark.oracle
def test_bvlc_remembers_the_same(bvlc: Build):
    net = make_net(plain("loss_weight: 1"))
    for _ in range(3):
        net.forward_backward()
    answer = ask(bvlc, f"""
made = net({plain("loss_weight: 1")!r}, caffe.TRAIN)
made.blobs["data"].data[...] = np.array({net.blobs["data"].data.tolist()!r})
for _ in range(3):
    made.forward()
    made.backward()
answer = [[blob.data, blob.diff] for blob in made.params["bn"]]
""")  # fmt: skip
    for blob, (data, diff) in zip(net.params["bn"], answer, strict=True):
        np.testing.assert_allclose(blob.data, data, rtol=1e-5)
        np.testing.assert_array_equal(blob.diff, diff)
