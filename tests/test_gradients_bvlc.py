"""LeNet's gradients from the very weights that BVLC's build had, step after step.

Two trainings drift apart by rounding, where a maximum or a ReLU tips; gradients at the same
weights do not.
"""

from __future__ import annotations

import io

import numpy as np
import pytest
from bvlc import Build
from google.protobuf import text_format
from recipes import learnable_images, read_model, without_chance
from small_nets import inputs, message

from recaffe.net import Net, load_weights

pytestmark = pytest.mark.oracle

STEPS, ITEMS = 12, 64
SOLVER = (
    "net: 'net.prototxt' base_lr: 0.01 lr_policy: 'fixed' momentum: 0.9 random_seed: 3 "
    "solver_mode: CPU"
)
SCRIPT = f"""
import caffe, numpy as np
solver = caffe.get_solver("solver.prototxt")
net, given, found = solver.net, np.load("given.npz"), {{}}
net.blobs["data"].data[...] = given["data"]
net.blobs["label"].data[...] = given["label"]
for step in range({STEPS}):
    net.save("step%d.caffemodel" % step)
    net.clear_param_diffs()
    net.forward()
    net.backward()
    for layer in net.params:
        for index, blob in enumerate(net.params[layer]):
            found["%d %s %d" % (step, layer, index)] = blob.diff.copy()
    solver.step(1)
np.savez("found.npz", **found)
"""


def test_gradients_at_bvlcs_weights_are_bvlcs(bvlc: Build, tmp_path):
    model, _ = read_model("lenet")
    without_chance(model, ITEMS)
    param = message(inputs(data=(ITEMS, 1, 28, 28), label=(ITEMS,)))
    param.layer.extend(layer for layer in model.layer if layer.type != "Data")
    images, labels = learnable_images(ITEMS, 10, (1, 28, 28))
    given = {"data": images.astype(np.float32) / 256, "label": labels.astype(np.float32)}
    packed = io.BytesIO()
    np.savez(packed, **given)
    files = {
        "net.prototxt": text_format.MessageToString(param),
        "solver.prototxt": SOLVER,
        "given.npz": packed.getvalue(),
    }
    weights = [f"step{step}.caffemodel" for step in range(STEPS)]
    result = bvlc.python(SCRIPT, files=files, fetch=["found.npz", *weights])
    theirs = np.load(io.BytesIO(result.files["found.npz"]))

    net = Net(param, 0)
    for name, values in given.items():
        net.blobs[name].data[...] = values
    for step, name in enumerate(weights):
        (tmp_path / name).write_bytes(result.files[name])
        load_weights(net, tmp_path / name)
        net.clear_param_diffs()
        net.forward_backward()
        for (layer, index), blob in zip(net.param_places, net.learnable, strict=True):
            expected = theirs[f"{step} {layer} {index}"]
            largest = np.abs(expected).max()
            assert largest > 0
            np.testing.assert_allclose(
                blob.diff, expected, rtol=0, atol=1e-5 * largest, err_msg=f"{step} {layer}"
            )
    assert not np.array_equal(theirs["0 conv1 0"], theirs[f"{STEPS - 1} conv1 0"])
