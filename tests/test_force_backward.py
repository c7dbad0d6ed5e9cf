"""``force_backward`` where there is no gradient to give: BVLC aborts, ours gives the others."""

from __future__ import annotations

import json

import numpy as np
import pytest
from bvlc import Build
from small_nets import ACCURACY, TINY, build, filled, inputs, run, run_back

FORCED = "force_backward: true\n"


def layer(type_: str, *bottoms: str, settings: str = "") -> str:
    words = " ".join(f'bottom: "{bottom}"' for bottom in bottoms)
    return f'layer {{ name: "it" type: "{type_}" {words} top: "y" {settings} }}'


X, INDEX, MATRIX = inputs(x=(2, 3)), inputs(i=(2,)), inputs(h=(1, 1, 3, 3))
# Nets, and the bottoms that have no gradient.
WITHOUT_A_GRADIENT = {
    "Accuracy": (X + INDEX + layer("Accuracy", "x", "i"), "x i"),
    "ArgMax": (X + layer("ArgMax", "x"), "x"),
    "Threshold": (X + layer("Threshold", "x"), "x"),
    "Filter": (X + INDEX + layer("Filter", "x", "i"), "i"),
    "BatchReindex": (X + INDEX + layer("BatchReindex", "x", "i"), "i"),
    "Embed": (
        INDEX + layer("Embed", "i", settings="embed_param { num_output: 2 input_dim: 3 }"), "i"),
    "InfogainLoss": (X + INDEX + MATRIX + layer("InfogainLoss", "x", "i", "h"), "i h"),
}  # fmt: skip
SCRIPT = """
import json, os
import caffe
statuses = {}
for name, text in json.load(open("nets.json")).items():
    with open("net", "w") as stream:
        stream.write(text)
    child = os.fork()
    if child == 0:
        os.dup2(os.open("/dev/null", os.O_WRONLY), 2)
        net = caffe.Net("net", caffe.TRAIN)
        for blob in net.blobs.values():
            blob.data[...] = 1
        net.forward()
        net.backward()
        os._exit(0)
    statuses[name] = os.waitpid(child, 0)[1]
print(json.dumps(statuses))
"""


@pytest.mark.parametrize("type_", WITHOUT_A_GRADIENT)
def test_bottoms_without_a_gradient_get_none(type_):
    text, untouched = WITHOUT_A_GRADIENT[type_]
    net = build(FORCED + text)
    for name, blob in net.blobs.items():
        blob.data[...] = 1
        blob.diff[...] = 7 if name in net.inputs else 3
    run(net)
    run_back(net)
    kept = [name for name in net.inputs if (net.blobs[name].diff == 7).all()]
    assert kept == untouched.split()


def test_an_accuracy_beside_the_loss_changes_no_gradient():
    plain, scored = filled(FORCED + TINY), filled(FORCED + TINY + ACCURACY)
    for name, blobs in plain.params.items():
        for one, other in zip(blobs, scored.params[name], strict=True):
            other.data[...] = one.data
    for net in (plain, scored):
        for name in net.inputs:
            net.blobs[name].data[...] = np.arange(net.blobs[name].count).reshape(
                net.blobs[name].shape) % 2  # fmt: skip
        run(net)
        run_back(net)
    assert plain.blobs["data"].diff.any()
    np.testing.assert_array_equal(plain.blobs["data"].diff, scored.blobs["data"].diff)


@pytest.mark.oracle
def test_bvlc_aborts_on_these(bvlc: Build):
    nets = {name: FORCED + text for name, (text, _) in WITHOUT_A_GRADIENT.items()}
    found = bvlc.python(SCRIPT, files={"nets.json": json.dumps(nets)}).json()
    assert found == dict.fromkeys(nets, 6)
