"""What a net tells of its making, beside BVLC's: every line, its place and the order."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import numpy as np
import pytest
from bvlc import Build

import caffe
from caffe.glog import GlogFormatter
from recaffe.net import Net
from recaffe.proto.schema import NetParameter
from recaffe.proto.shown import Shown

INPUT = 'layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }\n'
IMAGES = INPUT.replace("dim: 3", "dim: 3 dim: 4 dim: 4")
LABELS = 'layer { name: "l" type: "Input" top: "y" input_param { shape { dim: 2 } } }\n'


def ip(name: str, bottom: str, more: str = "") -> str:
    return (
        f'layer {{ name: "{name}" type: "InnerProduct" bottom: "{bottom}" top: "{name}" '
        f"inner_product_param {{ num_output: 3 }} {more} }}\n"
    )


def ruled(rules: str) -> str:
    return ip("ruled", "x", rules)


LOSS = 'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "y" top: "loss" }\n'
BOTH = 'top: "data" top: "label" '
NETS = {
    "splits and losses": INPUT + LABELS + ip("ip", "x") + LOSS
    + ip("dead", "ip")
    + 'layer { name: "e" type: "EuclideanLoss" bottom: "ip" bottom: "x" top: "e" loss_weight: 0.5 }'
    + 'layer { name: "acc" type: "Accuracy" bottom: "ip" bottom: "y" top: "acc" top: "each" }',
    "in place": INPUT + ip("ip", "x")
    + 'layer { name: "r" type: "ReLU" bottom: "ip" top: "ip" }'
    + 'layer { name: "s" type: "Sigmoid" bottom: "ip" top: "s" loss_weight: 3 }'
    + 'layer { name: "p" type: "Power" bottom: "s" top: "p" }',
    "shared": INPUT + ip("a", "x", 'param { name: "w" lr_mult: 2 } param { name: "b" }')
    + ip("b", "a", 'param { name: "w" } param { lr_mult: 0 }')
    + ip("c", "a", 'param { share_mode: PERMISSIVE } param { name: "b" decay_mult: 3 }'),
    "forced": "force_backward: true " + INPUT + ip("a", "x")
    + ip("b", "a", "propagate_down: false")
    + 'layer { name: "sum" type: "Reduction" bottom: "b" top: "sum" loss_weight: 1 }',
    "without names": INPUT + LABELS + ip("ip", "x") + LOSS.replace('top: "loss"', ""),
    "layers within": IMAGES
    + 'layer { name: "s" type: "Scale" bottom: "x" top: "s" scale_param { bias_term: true } }'
    + 'layer { name: "t" type: "Scale" bottom: "s" top: "t" }'
    + 'layer { name: "n" type: "LRN" bottom: "t" top: "n" lrn_param '
    + "{ norm_region: WITHIN_CHANNEL } }"
    + 'layer { name: "p" type: "SPP" bottom: "n" top: "p" spp_param { pyramid_height: 2 } }',
    "infogain": INPUT + LABELS + 'layer { name: "i" type: "InfogainLoss" bottom: "x" bottom: "y" '
    'top: "i" infogain_loss_param { source: "gain.binaryproto" } }',
    "no tops": INPUT + 'layer { name: "s" type: "Silence" bottom: "x" }',
    "state": 'state { level: 2 stage: "p" }' + INPUT + ruled('include { stage: "p" }'),
    "LMDB": f'layer {{ name: "d" type: "Data" {BOTH} '
    "transform_param { crop_size: 2 mean_file: \"mean.binaryproto\" scale: 0.00390625 } "
    'data_param { source: "lmdb" batch_size: 3 backend: LMDB } }',
    "images": f'layer {{ name: "d" type: "ImageData" {BOTH} '
    'image_data_param { source: "list.txt" batch_size: 2 } }',
    "shuffled": f'layer {{ name: "d" type: "ImageData" {BOTH} '
    'image_data_param { source: "list.txt" batch_size: 2 shuffle: true rand_skip: 1 } }',
    "HDF5": f'layer {{ name: "d" type: "HDF5Data" {BOTH} '
    'hdf5_data_param { source: "hdf5.txt" batch_size: 2 } }',
    "least level": INPUT + ruled("include { min_level: 5 }"),
    "largest level": INPUT + ruled("include { max_level: -1 }"),
    "stages": INPUT + ruled('include { stage: "p" stage: "q" }'),
    "no stage": INPUT + ruled('include { not_stage: "p" }'),
    "several": INPUT + ruled(
        "include { phase: TEST } include { min_level: 9 } include { } include { phase: TEST }"
    ),
    "excluded": INPUT + ruled('exclude { stage: "q" } exclude { phase: TRAIN } exclude { }'),
}  # fmt: skip
SCRIPT = """
import os, sys
import caffe
os.chdir(sys.argv[1])
for name in os.environ["NETS"].split("|"):
    sys.stderr.write("CASE " + name + "\\n")
    sys.stderr.flush()
    caffe.Net(network_file=name, phase=caffe.TRAIN, level=0, stages=["p"])
    sys.stderr.flush()
"""
HEAD = re.compile(r"^[IWEF]\d{4} \S+ +\d+ (?=\S+:\d+\] )", re.MULTILINE)
# Told once a process, of HDF5's types; and by threads that read ahead, when they come to it.
ONLY_THEIRS = re.compile(r"(hdf5\.cpp|data_layer\.cpp:73|blocking_queue\.cpp).*\n")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import h5py
    from PIL import Image
    from recipes import write_lmdb

    folder = tmp_path_factory.mktemp("nets")
    for name, text in NETS.items():
        (folder / name).write_text(text)
    write_lmdb(folder / "lmdb", np.zeros((4, 3, 4, 4), np.uint8), np.zeros(4, int))
    for name, shape in (("mean", (1, 3, 4, 4)), ("gain", (1, 1, 3, 3))):
        blob = caffe.io.array_to_blobproto(np.zeros(shape))
        (folder / f"{name}.binaryproto").write_bytes(blob.SerializeToString())
    Image.new("RGB", (4, 4)).save(folder / "image.png")
    (folder / "list.txt").write_text("image.png 0\nimage.png 1\nimage.png 0\n")
    (folder / "hdf5.txt").write_text("data.h5\n")
    with h5py.File(folder / "data.h5", "w") as file:
        file["data"], file["label"] = np.zeros((4, 2), "f4"), np.zeros(4, "f4")
    return folder


@pytest.fixture(scope="module")
def theirs(bvlc: Build, folder: Path) -> dict[str, str]:
    done = bvlc.python(
        SCRIPT,
        "nets",
        files={"nets": folder},
        environment={"GLOG_minloglevel": "0", "NETS": "|".join(NETS)},
    )
    parts = [part.partition("\n") for part in done.stderr.split("CASE ")[1:]]
    return {name: ONLY_THEIRS.sub("", HEAD.sub("", text)) for name, _, text in parts}


class Lines(logging.Handler):
    """Keeps what a net tells, as the log has it."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(GlogFormatter())
        self.text = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.text += self.format(record) + "\n"


@pytest.mark.oracle
@pytest.mark.parametrize("name", NETS)
def test_every_line_is_bvlcs(
    theirs: dict[str, str], folder: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(folder)
    lines, room = Lines(), logging.getLogger("recaffe")
    room.addHandler(lines)
    try:
        caffe.Net(name, caffe.TRAIN, level=0, stages=["p"])
    finally:
        room.removeHandler(lines)
    assert "Network initialization done." in lines.text
    assert HEAD.sub("", lines.text).splitlines() == [
        line for line in theirs[name].splitlines() if not line.startswith("WARNING: Logging")
    ]


def test_only_the_root_solvers_nets_tell(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "recaffe.making")
    param = NetParameter()
    Net(param, caffe.TRAIN)
    assert caplog.records
    caplog.clear()
    caffe.set_solver_count(2)
    caffe.set_solver_rank(1)
    try:
        Net(param, caffe.TRAIN)
    finally:
        caffe.set_solver_rank(0)
        caffe.set_solver_count(1)
    assert not caplog.records


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (2.0, "2"),
        (0.1, "0.1"),
        (1e6, "1e+06"),
        (1234567.0, "1234567"),
        (0.0123456789, "0.0123456791"),
        (1e-5, "1e-05"),
        (float("inf"), "inf"),
    ],
)
def test_floats_are_told_as_cpp_writes_them(value: float, text: str) -> None:
    param = NetParameter(name="é: 2.0")
    param.layer.add(loss_weight=[value])
    assert str(Shown(param)) == (f'name: "\\303\\251: 2.0"\nlayer {{\n  loss_weight: {text}\n}}')
