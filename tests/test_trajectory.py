"""Training here and in BVLC's build, from the same weights on the same LMDB."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from google.protobuf import text_format
from recipes import learnable_images, read_model, without_chance, write_lmdb

from recaffe.proto.weights import read_weights

ITERATIONS = 20
SCRIPT = Path(__file__).with_name("same_training.py")
CASES = {
    # model: classes, image shape, batch size, learning rate; CaffeNet starts from random
    # weights here, and at its usual rate, 0.01, twenty steps would be chaos in either build
    "lenet": (10, (1, 28, 28), 64, 0.015),
    "caffenet": (10, (3, 227, 227), 8, 0.0002),
}

pytestmark = [pytest.mark.oracle, pytest.mark.slow]


@pytest.fixture(scope="module", params=CASES)
def trainings(request, bvlc, tmp_path_factory):
    """Both trainings: their losses, and the folder with the weights that they wrote."""
    classes, shape, batch_size, rate = CASES[request.param]
    here = tmp_path_factory.mktemp(request.param)
    net, solver = read_model(request.param)
    without_chance(net, batch_size)
    solver.base_lr, solver.net, solver.solver_mode = rate, "train_val.prototxt", solver.CPU
    solver.random_seed = 1
    for field in ("display", "snapshot", "test_interval", "test_iter"):
        solver.ClearField(field)
    (here / "train_val.prototxt").write_text(text_format.MessageToString(net))
    (here / "solver.prototxt").write_text(text_format.MessageToString(solver))
    write_lmdb(here / "train", *learnable_images(3 * batch_size + 5, classes, shape))

    files = {name: here / name for name in ("train_val.prototxt", "solver.prototxt", "train")}
    theirs = bvlc.python(
        SCRIPT, "solver.prototxt", "-", str(ITERATIONS), "theirs.caffemodel",
        files=files, fetch=["initial.caffemodel", "theirs.caffemodel"], threads=2,
    )  # fmt: skip
    for name, content in theirs.files.items():
        (here / name).write_bytes(content)
    ours = subprocess.run(
        [sys.executable, SCRIPT, "solver.prototxt", "initial.caffemodel", str(ITERATIONS),
         "ours.caffemodel"],
        cwd=here, env=os.environ, check=True, capture_output=True, text=True,
    )  # fmt: skip
    return here, theirs.json(), json.loads(ours.stdout)


def test_losses_follow_bvlc(trainings):
    _, theirs, ours = trainings
    assert theirs["caffe"].startswith("/usr/lib/python3/dist-packages/")
    assert ours["caffe"] != theirs["caffe"]
    assert len(ours["losses"]) == ITERATIONS
    # The training is one: a constant loss would prove nothing.
    assert theirs["losses"][-1] < 0.9 * theirs["losses"][0]
    np.testing.assert_allclose(ours["losses"], theirs["losses"], rtol=1e-4)


def test_final_weights_agree(trainings):
    here, _, _ = trainings
    initial, theirs, ours = (
        {layer.name: layer.blobs for layer in read_weights(here / f"{name}.caffemodel")}
        for name in ("initial", "theirs", "ours")
    )
    assert ours.keys() == theirs.keys()
    for name, blobs in theirs.items():
        for before, expected, found in zip(initial[name], blobs, ours[name], strict=True):
            assert found.shape == expected.shape
            moved = np.linalg.norm(expected - before)
            assert moved > 0
            # Weights near 1 that hardly move differ by what single precision can tell apart.
            resolution = np.finfo(np.float32).eps * np.linalg.norm(expected)
            assert np.linalg.norm(found - expected) < 5e-3 * moved + resolution, name
