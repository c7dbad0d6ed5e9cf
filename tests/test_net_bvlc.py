"""Whole nets here and in BVLC's build: every blob, every diff, after the same calls."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from bvlc import Build
from small_nets import ACCURACY, DATA, LOSS, TINY, filled, inputs, ip, relu

from recaffe.net import Net

pytestmark = pytest.mark.oracle

FORCE = "force_backward: true\n"
SHARED = 'param { name: "w" } param { name: "b" }'


def power(name: str, bottom: str, more: str = "") -> str:
    return (
        f'layer {{ name: "{name}" type: "Power" bottom: "{bottom}" top: "{name}" '
        f"power_param {{ scale: 10 }} {more} }}\n"
    )


PLAIN = [DATA, ip("ip", "data"), relu("relu", "ip"), ip("ip2", "ip", 2), LOSS]


def tiny(first: str = "", second: str = "") -> str:
    """TINY with more in its two layers that learn."""
    return "".join([DATA, ip("ip", "data", more=first), PLAIN[2], ip("ip2", "ip", 2, second), LOSS])


NETS = {
    "plain": TINY,
    "forced": FORCE + TINY,
    "with accuracy": TINY + ACCURACY,
    "frozen layer": tiny("param { lr_mult: 0 } param { lr_mult: 0 }"),
    "frozen weight": tiny("", "param { lr_mult: 0 }"),
    "frozen and forced": FORCE + tiny("param { lr_mult: 0 }", "param { lr_mult: 0 }"),
    "propagate_down false": tiny("", "propagate_down: false"),
    "propagate_down true": tiny("propagate_down: true"),
    "loss_weight": TINY.replace('top: "loss"', 'top: "loss" loss_weight: 3'),
    "loss_weight 0": TINY.replace('top: "loss"', 'top: "loss" loss_weight: 0'),
    "two losses": TINY + ip("ip3", "ip", 2) + LOSS.replace('"l"', '"l2"').replace(
        '"loss"', '"loss2" loss_weight: 0.5').replace('"ip2"', '"ip3"'),
    "loss that goes on": TINY + power("p", "loss", "loss_weight: 0.5"),
    "loss that goes on to no loss": TINY + power("p", "loss"),
    "weighted loss that goes on": TINY.replace('top: "loss"', 'top: "loss" loss_weight: 3')
    + power("p", "loss", "loss_weight: 0.5"),
    "weighted loss that goes on twice": TINY.replace('top: "loss"', 'top: "loss" loss_weight: 3')
    + power("p", "loss", "loss_weight: 0.5") + power("q", "loss", "loss_weight: 0.25"),
    "loss on a blob that goes on": tiny("", "loss_weight: 0.25"),
    "dead branch": TINY + ip("dead", "ip") + relu("dead relu", "dead", "end"),
    "shared": DATA + ip("ip", "data", more=SHARED) + ip("ipb", "ip", more=SHARED)
    + relu("relu", "ipb") + ip("ip2", "ipb", 2) + LOSS,
    "no loss": inputs(data=(4, 3)) + ip("ip", "data"),
    "no loss, forced": FORCE + inputs(data=(4, 3)) + ip("ip", "data") + relu("r", "ip"),
    "dropout at test": TINY.replace(PLAIN[3], 'layer { name: "d" type: "Dropout" bottom: "ip" '
                                    'top: "d" }' + ip("ip2", "d", 2)),
}  # fmt: skip

SCRIPT = """
import io, json
import numpy as np
import caffe
given, found = np.load("given.npz"), {}
for name, text in json.load(open("nets.json")).items():
    with open("net.prototxt", "w") as stream:
        stream.write(text)
    net = caffe.Net("net.prototxt", caffe.TEST)
    for key in given.files:
        owner, layer, number = key.split("/")
        if owner == name and number == "data":
            net.blobs[layer].data[...] = given[key]
        elif owner == name:
            net.params[layer][int(number)].data[...] = given[key]
    losses = []
    for _ in range(2):
        losses.append(net._forward(0, len(net.layers) - 1))
        net.backward()
    found[f"{name}/losses"] = np.array(losses)
    for blob in net.blobs:
        found["/".join([name, blob, "data"])] = net.blobs[blob].data.copy()
        found["/".join([name, blob, "diff"])] = net.blobs[blob].diff.copy()
    for layer, blobs in net.params.items():
        for number, blob in enumerate(blobs):
            found["/".join([name, layer, str(number)])] = blob.diff.copy()
np.savez("found.npz", **found)
"""


def run_here(name: str, net: Net) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """What the net started from, and what two passes made of it."""
    given = {f"{name}/{blob}/data": net.blobs[blob].data.copy() for blob in net.inputs}
    for layer, blobs in net.params.items():
        for number, blob in enumerate(blobs):
            seed = sum(map(ord, layer)) + number
            blob.data[...] = np.random.default_rng(seed).normal(size=blob.shape)
    for layer, blobs in net.params.items():
        given |= {f"{name}/{layer}/{n}": blob.data.copy() for n, blob in enumerate(blobs)}
    last = len(net.layers) - 1
    losses = []
    for _ in range(2):
        net.forward_layers(0, last)
        losses.append(net.loss())
        net.backward_layers(last, 0)
    found = {f"{name}/losses": np.array(losses)}
    for blob_name, blob in net.blobs.items():
        found[f"{name}/{blob_name}/data"] = blob.data
        found[f"{name}/{blob_name}/diff"] = blob.diff
    for layer, blobs in net.params.items():
        found |= {f"{name}/{layer}/{n}": blob.diff for n, blob in enumerate(blobs)}
    return given, found


@pytest.fixture(scope="module")
def answers(bvlc: Build):
    given, ours = {}, {}
    for name, text in NETS.items():
        more, found = run_here(name, filled(text, phase=1))
        given |= more
        ours |= found
    packed = io.BytesIO()
    np.savez(packed, **given)
    files = {"nets.json": json.dumps(NETS), "given.npz": packed.getvalue()}
    result = bvlc.python(SCRIPT, files=files, fetch=["found.npz"])
    return ours, dict(np.load(io.BytesIO(result.files["found.npz"])))


@pytest.mark.parametrize("name", NETS)
def test_blobs_and_diffs_are_bvlcs(answers, name):
    ours, theirs = (
        {key: array for key, array in side.items() if key.startswith(f"{name}/")}
        for side in answers
    )
    assert list(ours) == list(theirs)
    for key, expected in theirs.items():
        assert ours[key].shape == expected.shape, key
        largest = np.abs(expected).max(initial=0.0)
        np.testing.assert_allclose(ours[key], expected, atol=1e-5 * largest, err_msg=key)
