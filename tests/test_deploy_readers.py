"""OpenCV's and MNN's readers of Caffe's files take what is written here, and compute the same.

Neither has a line in common with ours. MNN's converter is called through its own function
``_tools.mnnconvert``, in a process of its own: the script ``mnnconvert`` of the package calls
the same one, but installs a package and reports to its makers beside.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import cv2
import deployed_nets
import numpy as np
import pytest
import torch

import caffe
from recaffe.net import Net, load_weights
from recaffe.proto.text import read_net

NETS = [
    pytest.param(name, marks=pytest.mark.slow) if name in deployed_nets.BIG else name
    for name in deployed_nets.NETS
]
MNN = """
import sys
import _tools
import MNN
import numpy as np

deploy, weights, model, blob = sys.argv[1:]
_tools.mnnconvert(["mnnconvert", "-f", "CAFFE", "--modelFile", weights, "--prototxt", deploy,
                   "--MNNModel", model, "--bizCode", "test"])
interpreter = MNN.Interpreter(model)
session = interpreter.createSession({"numThread": 1, "precision": "high"})
images = np.load("images.npy")
given = interpreter.getSessionInput(session)
assert tuple(given.getShape()) == images.shape, given.getShape()
given.copyFrom(MNN.Tensor(images.shape, MNN.Halide_Type_Float, images,
                          MNN.Tensor_DimensionType_Caffe))
interpreter.runSession(session)
made = interpreter.getSessionOutput(session, blob)
shape = made.getShape()
host = MNN.Tensor(shape, MNN.Halide_Type_Float, np.zeros(shape, "f"),
                  MNN.Tensor_DimensionType_Caffe)
made.copyToHostTensor(host)
np.save("found.npy", np.array(host.getData(), "f").reshape(shape))
"""


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module", params=NETS)
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    """Deploy net, weights, images and what our runtime makes of them."""
    folder = tmp_path_factory.mktemp(request.param)
    deploy, weights = deployed_nets.write(request.param, folder)
    net = caffe.Net(str(deploy), str(weights), caffe.TEST)
    images = np.random.default_rng(19).standard_normal(net.blobs["data"].data.shape, np.float32)
    expected = net.forward(data=images)["prob"].copy()
    # They are told apart, so that agreement means something.
    assert np.abs(expected - expected.mean(axis=1, keepdims=True)).max() > 0.05
    if len(expected) > 1:
        assert np.abs(expected - expected[:1]).max() > 1e-3
    return deploy, weights, images, expected


def assert_same(found: np.ndarray, expected: np.ndarray, apart: float = 1e-5) -> None:
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=0, atol=apart)


def in_float64(deploy: Path, weights: Path, images: np.ndarray) -> np.ndarray:
    """What the net's layers make of the images in double precision."""
    net = Net(read_net(deploy), caffe.TEST)
    load_weights(net, weights)
    values = {"data": torch.from_numpy(images).double()}
    for layer in net.layers[1:]:
        bottoms = [values[name] for name in layer.param.bottom]
        params = [torch.from_numpy(blob.data).double() for blob in layer.blobs]
        with torch.no_grad():
            values.update(zip(layer.param.top, layer.forward(bottoms, params), strict=True))
    return values["prob"].numpy()


def test_what_readers_are_held_against_is_exact(written):
    deploy, weights, images, expected = written
    assert_same(expected, in_float64(deploy, weights, images), apart=2e-6)


def test_opencv_reads_it_and_computes_the_same(written):
    deploy, weights, images, expected = written
    net = cv2.dnn.readNetFromCaffe(str(deploy), str(weights))
    net.setInput(images)
    assert_same(net.forward("prob"), expected)


# Asked for without importing it: its protobuf aborts a process that has grpcio-tools' own.
@pytest.mark.skipif(
    importlib.util.find_spec("_tools") is None, reason="MNN's converter comes with the dev extras"
)
def test_mnn_converts_it_and_computes_the_same(written, tmp_path: Path):
    deploy, weights, images, expected = written
    np.save(tmp_path / "images.npy", images)
    done = subprocess.run(
        [sys.executable, "-c", MNN, str(deploy), str(weights), "net.mnn", "prob"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    # MNN is less exact than the others: of LeNet it is 2e-5 from what float64 gives.
    assert_same(np.load(tmp_path / "found.npy"), expected, apart=1e-4)
