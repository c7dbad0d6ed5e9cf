"""The forks' layers against nets of BVLC's layers that compute the same, in BVLC's build."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from bvlc import Build
from fork_pairs import FROZEN, PAIRS, STATISTICS, Pair
from google.protobuf import text_format
from layer_cases import apart, normal

from caffe.proto import caffe_pb2
from recaffe.net import Net

pytestmark = pytest.mark.oracle

SCRIPT = """
import json
import numpy as np
import caffe

pairs = json.load(open("pairs.json"))
given, found = np.load("given.npz"), {}
for index, pair in enumerate(pairs):
    with open("net.prototxt", "w") as stream:
        stream.write(pair["net"])
    net = caffe.Net("net.prototxt", pair["phase"])
    for number in range(pair["bottoms"]):
        net.blobs["b%d" % number].data[...] = given["%d b%d" % (index, number)]
    for name, number, key in pair["params"]:
        blob = net.params[name][number]
        blob.data[...] = given["%d %s" % (index, key)].reshape(blob.data.shape)
    net.forward()
    found["%d top" % index] = net.blobs["top"].data.copy()
    net.blobs["top"].diff[...] = given["%d d" % index]
    net.backward()
    for number in range(pair["bottoms"]):
        found["%d b%d" % (index, number)] = net.blobs["b%d" % number].diff.copy()
    for name, number, key in pair["params"]:
        found["%d %s" % (index, key)] = net.params[name][number].diff.copy()
    if "norm" in net.params:
        found["%d statistics" % index] = np.stack([b.data for b in list(net.params["norm"])[:2]])
np.savez("found.npz", **found)
"""


def run_here(pair: Pair) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """What our layer gives, and the top's diff that it was given."""
    net = Net(text_format.Parse(pair.our_net, caffe_pb2.NetParameter()), pair.phase)
    for index, bottom in enumerate(pair.bottoms):
        net.blobs[f"b{index}"].data[...] = bottom
    blobs = net.params.get("it", [])
    for blob, values in zip(blobs, pair.params, strict=True):
        blob.data[...] = values
    net.forward_layers(0, len(net.layers) - 1)
    found = {"top": net.blobs["top"].data.copy()}
    found["after"] = np.array([blob.data.ravel() for blob in blobs[2:]])
    diff = normal(*found["top"].shape, seed=9)
    net.blobs["top"].diff[...] = diff
    net.backward_layers(len(net.layers) - 1, 0)
    for index in range(len(pair.bottoms)):
        found[f"b{index}"] = net.blobs[f"b{index}"].diff.copy()
    found |= {f"p{index}": blob.diff.copy() for index, blob in enumerate(blobs)}
    return found, diff


@pytest.fixture(scope="module")
def answers(bvlc: Build):
    given, pairs, ours = {}, [], {}
    for index, pair in enumerate(PAIRS):
        ours[pair.name], given[f"{index} d"] = run_here(pair)
        given |= {f"{index} b{i}": bottom for i, bottom in enumerate(pair.bottoms)}
        params = []
        for i, (name, number) in pair.places.items():
            params.append((name, number, f"p{i}"))
            given[f"{index} p{i}"] = pair.params[i]
        for i, ((name, number), values) in enumerate(pair.constants.items()):
            params.append((name, number, f"c{i}"))
            given[f"{index} c{i}"] = values
        pairs.append(
            {"net": pair.net(pair.theirs), "phase": pair.phase, "bottoms": len(pair.bottoms),
             "params": params}
        )  # fmt: skip
    packed = io.BytesIO()
    np.savez(packed, **given)
    files = {"pairs.json": json.dumps(pairs), "given.npz": packed.getvalue()}
    result = bvlc.python(SCRIPT, files=files, fetch=["found.npz"])
    theirs = np.load(io.BytesIO(result.files["found.npz"]))
    return {
        pair.name: (
            ours[pair.name],
            {key.split(" ", 1)[1]: theirs[key] for key in theirs if key.startswith(f"{index} ")},
        )
        for index, pair in enumerate(PAIRS)
    }


def assert_same(found: np.ndarray, expected: np.ndarray, what: str) -> None:
    largest = np.abs(expected).max(initial=0.0)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * largest, err_msg=what)


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.name)
def test_a_layer_does_what_bvlcs_layers_do_together(answers, pair):
    ours, theirs = answers[pair.name]
    assert ours["top"].shape == theirs["top"].shape
    assert_same(ours["top"], theirs["top"], "top")
    smooth = len(pair.bottoms) if pair.smooth is None else pair.smooth
    for index in range(smooth):
        assert np.abs(theirs[f"b{index}"]).max() > 0
        assert_same(ours[f"b{index}"], theirs[f"b{index}"], f"bottom {index}")
    for index in range(smooth, len(pair.bottoms)):
        assert not ours[f"b{index}"].any()
    for index in pair.places:
        expected = theirs[f"p{index}"].reshape(ours[f"p{index}"].shape)
        if pair is FROZEN:
            expected = np.zeros_like(expected)  # it learns nothing
        assert_same(ours[f"p{index}"], expected, f"parameter {index}")


def test_pspnets_bn_remembers_a_tenth_of_what_bvlcs_batch_norm_finds(answers):
    ours, theirs = answers["BN of PSPNet"]
    # BVLC's started from 0, and its variance is that of a sample.
    mean, variance = theirs["statistics"]
    count = 4 * 2 * 5
    assert_same(ours["after"][0], 0.9 * STATISTICS[0] + 0.1 * mean, "mean")
    biased = variance * (count - 1) / count
    assert_same(ours["after"][1], 0.9 * STATISTICS[1] + 0.1 * biased, "variance")


@pytest.mark.parametrize("name", ["BN of PSPNet at test", "BN of PSPNet frozen"])
def test_pspnets_bn_keeps_its_statistics_where_it_uses_them(answers, name):
    ours, _ = answers[name]
    np.testing.assert_array_equal(ours["after"], STATISTICS)


UNPOOLED = """
import numpy as np
import caffe

with open("net.prototxt", "w") as stream:
    stream.write('''force_backward: true
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 dim: 5 dim: 6 } } }
layer { name: "pool" type: "Pooling" bottom: "x" top: "pool" top: "mask"
  pooling_param { kernel_size: 2 stride: 2 } }''')
net = caffe.Net("net.prototxt", caffe.TEST)
given = np.load("given.npz")
net.blobs["x"].data[...] = given["x"]
net.forward()
net.blobs["pool"].diff[...] = given["values"]
net.backward()
np.savez("found.npz", mask=net.blobs["mask"].data, up=net.blobs["x"].diff)
"""


def test_upsample_puts_back_where_bvlcs_pooling_sends_its_gradient(bvlc: Build):
    x, values = apart(2, 3, 5, 6), normal(2, 3, 3, 3)
    packed = io.BytesIO()
    np.savez(packed, x=x, values=values)
    result = bvlc.python(UNPOOLED, files={"given.npz": packed.getvalue()}, fetch=["found.npz"])
    theirs = np.load(io.BytesIO(result.files["found.npz"]))
    pair = Pair(
        "Upsample",
        'type: "Upsample" upsample_param { upsample_h: 5 upsample_w: 6 }',
        "",
        (values, theirs["mask"]),
    )
    ours, _ = run_here(pair)
    np.testing.assert_array_equal(ours["top"], theirs["up"])
