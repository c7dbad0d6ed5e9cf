"""The published nets in config/models: read by BVLC, with the sizes that are well known."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from bvlc import Build
from google.protobuf import text_format

from caffe.proto import caffe_pb2

MODELS = Path(__file__).resolve().parents[1] / "config" / "models"
NAMES = ["lenet", "caffenet"]


def read(name: str, file: str) -> str:
    return (MODELS / name / file).read_text()


@pytest.mark.parametrize("name", NAMES)
def test_solver_learns_the_net_beside_it(name: str) -> None:
    solver = text_format.Parse(read(name, "solver.prototxt"), caffe_pb2.SolverParameter())
    assert solver.net == "train_val.prototxt"
    assert (solver.base_lr, solver.momentum, solver.weight_decay) == pytest.approx(
        (0.01, 0.9, 0.0005)
    )
    assert solver.solver_mode == caffe_pb2.SolverParameter.CPU


@pytest.mark.parametrize("name", NAMES)
def test_names_are_those_that_users_and_patching_know(name: str) -> None:
    net = text_format.Parse(read(name, "train_val.prototxt"), caffe_pb2.NetParameter())
    for layer in net.layer:
        if layer.type == "Data":
            assert (layer.name, list(layer.top)) == ("data", ["data", "label"])
    assert [list(layer.top) for layer in net.layer[-2:]] == [["accuracy"], ["loss"]]


@pytest.mark.oracle
@pytest.mark.parametrize("name", NAMES)
def test_bvlc_reads_what_we_read(name: str, bvlc: Build) -> None:
    files = {file: MODELS / name / file for file in ("train_val.prototxt", "solver.prototxt")}
    script = """
from caffe.proto import caffe_pb2
from google.protobuf import text_format
for file, message in (("train_val.prototxt", caffe_pb2.NetParameter()),
                      ("solver.prototxt", caffe_pb2.SolverParameter())):
    with open(file) as stream:
        text_format.Parse(stream.read(), message)
    with open(file + ".wire", "wb") as stream:
        stream.write(message.SerializeToString())
"""
    wire = bvlc.python(script, files=files, fetch=[f"{file}.wire" for file in files]).files
    for file, message in zip(
        files, (caffe_pb2.NetParameter(), caffe_pb2.SolverParameter()), strict=True
    ):
        text_format.Parse(read(name, file), message)
        assert type(message).FromString(wire[f"{file}.wire"]) == message


# Weights and biases of every layer, from the papers' and the nets' own tables.
LENET = {
    "conv1": [[20, 1, 5, 5], [20]],
    "conv2": [[50, 20, 5, 5], [50]],
    "ip1": [[500, 800], [500]],
    "ip2": [[26, 500], [26]],
}
CAFFENET = {
    "conv1": [[96, 3, 11, 11], [96]],
    "conv2": [[256, 48, 5, 5], [256]],
    "conv3": [[384, 256, 3, 3], [384]],
    "conv4": [[384, 192, 3, 3], [384]],
    "conv5": [[256, 192, 3, 3], [256]],
    "fc6": [[4096, 9216], [4096]],
    "fc7": [[4096, 4096], [4096]],
    "fc8": [[1000, 4096], [1000]],
}


@pytest.mark.oracle
@pytest.mark.parametrize(
    ("name", "shape", "expected"),
    [("lenet", [2, 1, 28, 28], LENET), ("caffenet", [2, 3, 227, 227], CAFFENET)],
)
@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
def test_bvlc_builds_it_with_the_known_shapes(
    name: str, shape: list[int], expected: dict[str, list[list[int]]], phase: str, bvlc: Build
) -> None:
    """The data layers give way to input of the same names: their files are placeholders."""
    script = """
import json, sys
import caffe
from caffe.proto import caffe_pb2
from google.protobuf import text_format
shape, phase = json.loads(sys.argv[1]), sys.argv[2]
net = caffe_pb2.NetParameter()
with open("net.prototxt") as stream:
    text_format.Parse(stream.read(), net)
kept = [layer for layer in net.layer if layer.type != "Data"]
del net.layer[:]
for top, dims in (("data", shape), ("label", shape[:1])):
    layer = net.layer.add(name=top, type="Input", top=[top])
    layer.input_param.shape.add(dim=dims)
net.layer.extend(kept)
for layer in net.layer:  # zeros: drawing 50 million weights would take seconds
    if layer.type == "InnerProduct":
        layer.inner_product_param.weight_filler.type = "constant"
with open("built.prototxt", "w") as stream:
    stream.write(str(net))
made = caffe.Net("built.prototxt", getattr(caffe, phase))
shapes = {name: [list(blob.data.shape) for blob in blobs] for name, blobs in made.params.items()}
json.dump([shapes, sorted(made.outputs), float(made.forward()["loss"])], sys.stdout)
"""
    files = {"net.prototxt": MODELS / name / "train_val.prototxt"}
    shapes, outputs, loss = bvlc.python(script, str(shape), phase, files=files, threads=2).json()
    assert shapes == expected
    assert outputs == (["accuracy", "loss"] if phase == "TEST" else ["loss"])
    classes = expected[list(expected)[-1]][1][0]
    assert loss == pytest.approx(math.log(classes), abs=1e-4)
