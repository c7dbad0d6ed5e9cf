"""The command that patches a net and a solver, as a whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import bvlc as bvlc_build
import lmdb
import numpy as np
import pytest
from google.protobuf import text_format
from patch_nets import NET, layer_named, multipliers, net_of

from caffe.proto import caffe_pb2
from caffetools import patch, prototxt
from caffetools.cli import ToolError
from caffetools.prototxt import TEST, TRAIN

MODELS = Path(__file__).resolve().parents[1] / "config" / "models"

# --- the command ----------------------------------------------------------------------

SETTINGS: dict[str, dict[str, Any]] = {
    "lenet": {
        "head": "ip2",
        "new_head": "ip2_digits",
        "classes": 7,
        "head_lr_mult": 10,
        "freeze": ["conv*"],
        "input_shape": [1, 28, 28],
        "mean_file": "mean.binaryproto",
    },
    "caffenet": {
        "head": "fc8",
        "new_head": "fc8_flickr",
        "classes": 20,
        "head_lr_mult": 10,
        "freeze": ["conv[12]", "fc6"],
        "input_shape": [3, 228, 230],
        "mean_file": None,
    },
}
COMMON = {
    "train_source": "lmdb/train",
    "val_source": "lmdb/val",
    "batch_size": {"train": 2, "val": 1},
    "solver": {
        "base_lr": 0.0005,
        "stepsize": 20,
        "lr_policy": "step",
        "gamma": 0.1,
        "test_iter": 1,
    },
}
RESULTS = ["train_val.prototxt", "solver.prototxt", "deploy.prototxt", "patch.json"]


def command(model: str) -> list[str]:
    settings = json.dumps({**COMMON, **SETTINGS[model]})
    paths = [f"--net={model}/train_val.prototxt", f"--solver={model}/solver.prototxt"]
    return [*paths, f"--settings={settings}", "--output=out"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder with the published models in it."""
    for model in SETTINGS:
        (tmp_path / model).symlink_to(MODELS / model)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_lenet_is_patched_as_told(here: Path) -> None:
    (here / "out" / "snapshots").mkdir(parents=True)
    patch.main(command("lenet"))
    net = prototxt.read_net(here / "out" / "train_val.prototxt")
    assert layer_named(net, "ip2_digits").inner_product_param.num_output == 7
    assert multipliers(net, "ip2_digits") == [(10, 1), (20, 1)]
    assert multipliers(net, "conv2") == [(0, 0), (0, 0)]
    assert multipliers(net, "ip1") == [(1, 1), (2, 1)]
    for phase, source, size in ((TRAIN, "lmdb/train", 2), (TEST, "lmdb/val", 1)):
        data = prototxt.phase_view(net, phase)[0]
        assert (data.data_param.source, data.data_param.batch_size) == (source, size)
        assert data.transform_param.mean_file == "mean.binaryproto"
        assert data.transform_param.scale == 1 / 256
    solver = prototxt.read_solver(here / "out" / "solver.prototxt")
    assert solver.net == "out/train_val.prototxt"
    assert (solver.stepsize, solver.momentum) == (20, pytest.approx(0.9))
    deploy = prototxt.read_net(here / "out" / "deploy.prototxt")
    assert list(deploy.layer[-1].top) == ["prob"]
    assert (here / "out" / "snapshots").is_dir()


def test_table_of_changes_has_each_with_its_old_value(here: Path) -> None:
    patch.main(command("lenet"))
    rows = json.loads((here / "out" / "patch.json").read_text())
    table = {
        (row["layer"], row["phase"], row["field"]): (row["before"], row["after"]) for row in rows
    }
    assert len(table) == len(rows)
    assert table["ip2_digits", None, "name"] == ("ip2", "ip2_digits")
    assert table["ip2_digits", None, "inner_product_param.num_output"] == (26, 7)
    assert table["ip2_digits", None, "param[1].lr_mult"] == (2.0, 20.0)
    assert table["accuracy", "TEST", "bottom[0]"] == ("ip2", "ip2_digits")
    assert table["conv1", None, "param[0].decay_mult"] == (None, 0.0)
    assert table["data", "TRAIN", "data_param.source"] == ("train", "lmdb/train")
    assert table["data", "TEST", "data_param.source"] == ("val", "lmdb/val")
    assert table[None, None, "base_lr"] == (0.01, 0.0005)
    assert table[None, None, "lr_policy"] == ("inv", "step")
    assert not any(layer in ("pool1", "ip1", "relu1") for layer, _, _ in table)


def test_layer_split_in_two_is_compared_with_the_one_it_was(here: Path) -> None:
    (here / "net").write_text(NET)
    (here / "solver").write_text('base_lr: 1 lr_policy: "fixed"')
    settings = json.dumps({"train_source": "t", "val_source": "v", "input_shape": [1, 9, 9]})
    patch.main(["--net=net", "--solver=solver", f"--settings={settings}", "--output=out"])
    rows = json.loads((here / "out" / "patch.json").read_text())
    sources = [
        (row["phase"], row["before"], row["after"]) for row in rows if "source" in row["field"]
    ]
    assert sources == [("TRAIN", "old", "t"), ("TEST", "old", "v")]
    assert {row["layer"] for row in rows} == {"data", "norm", None}  # statistics have no rate


def test_net_without_settings_stays_as_it_is(here: Path) -> None:
    arguments = command("lenet")[:2]
    options = ["--settings={}", "--output=out", "--input-shape=1,28,28", "--net-path=else/net"]
    patch.main([*arguments, *options])
    published = prototxt.read_net(MODELS / "lenet" / "train_val.prototxt")
    assert prototxt.read_net(here / "out" / "train_val.prototxt") == published
    (row,) = json.loads((here / "out" / "patch.json").read_text())
    assert (row["field"], row["after"]) == ("net", "else/net")


def test_nothing_is_written_when_something_is_wrong(here: Path) -> None:
    for settings, message in (
        ({"input_shape": [1, 28, 28], "solver": {"base_rl": 1}}, "base_rl"),
        ({"freeze": ["nothing"]}, "--input-shape or input_shape"),
    ):
        with pytest.raises(ToolError, match=message):
            patch.main(
                [*command("lenet")[:2], f"--settings={json.dumps(settings)}", "--output=out"]
            )
    assert not (here / "out").exists()


# --- as BVLC's build sees it ----------------------------------------------------------

BUILDS = """
import json, sys, caffe, numpy as np
solver = caffe.get_solver('out/solver.prototxt')
solver.step(1)
deploy = caffe.Net('out/deploy.prototxt', caffe.TEST)
deploy.share_with(solver.net)
deploy.forward()
same = [np.array_equal(theirs[0].data, deploy.params[name][0].data) and theirs[0].data.any()
        for name, theirs in solver.net.params.items()]
json.dump({
    'train': {name: blobs[0].data.shape for name, blobs in solver.net.params.items()},
    'test': {name: blob.data.shape for name, blob in solver.test_nets[0].blobs.items()},
    'shared': bool(np.all(same)),
    'deploy': {name: blobs[0].data.shape for name, blobs in deploy.params.items()},
    'outputs': list(deploy.outputs), 'input': deploy.blobs['data'].data.shape,
    'prob': deploy.blobs['prob'].data.shape, 'sum': float(deploy.blobs['prob'].data.sum()),
}, sys.stdout)
"""


def write_lmdb(path: Path, shape: list[int]) -> None:
    path.mkdir(parents=True)
    datum = caffe_pb2.Datum(channels=shape[0], height=shape[1], width=shape[2], label=1)
    datum.data = bytes(int(np.prod(shape)))
    with lmdb.open(str(path), map_size=1 << 22) as store, store.begin(write=True) as records:
        records.put(b"00000000_a", datum.SerializeToString())


@pytest.mark.oracle
@pytest.mark.parametrize("model", SETTINGS)
def test_bvlc_writes_the_same_bytes_and_builds_the_nets(
    model: str, bvlc: bvlc_build.Build, here: Path
) -> None:
    settings = SETTINGS[model]
    channels, height, width = settings["input_shape"]
    for split in ("train", "val"):
        write_lmdb(here / "lmdb" / split, settings["input_shape"])
    mean = caffe_pb2.BlobProto(num=1, channels=channels, height=height, width=width)
    mean.data.extend([1.0] * (channels * height * width))
    files = {model: MODELS / model, "lmdb": here / "lmdb"}
    patch.main(command(model))
    with bvlc.workplace({**files, "mean.binaryproto": mean.SerializeToString()}) as place:
        place.module("caffetools.patch", *command(model))
        for name in RESULTS:
            assert (place.path / "out" / name).read_bytes() == (here / "out" / name).read_bytes()
        seen = place.python(BUILDS).json()
    classes, head = settings["classes"], settings["new_head"]
    assert seen["outputs"] == ["prob"]
    crop = {"lenet": (28, 28), "caffenet": (227, 227)}[model]
    assert seen["input"] == [1, channels, *crop]
    assert seen["prob"] == [1, classes]
    assert seen["sum"] == pytest.approx(1, abs=1e-5)
    assert seen["shared"]
    assert seen["deploy"] == seen["train"]
    assert seen["train"][head][0] == classes
    assert seen["test"][head] == [1, classes]
    assert "accuracy" in seen["test"]


# --- what the data set tells --------------------------------------------------------------


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset" / "classes.txt").write_text("a\nb\nc\n")
    (tmp_path / "lmdb").mkdir()
    for split, entries in (("train", 30), ("val", 17)):
        manifest = {"entries": entries, "channels": 3, "height": 5, "width": 7}
        (tmp_path / "lmdb" / f"{split}.json").write_text(json.dumps(manifest))
    return tmp_path


def solver_of(text: str = "test_iter: 100 test_interval: 10") -> Any:
    return text_format.Parse(text, caffe_pb2.SolverParameter())


def test_data_tells_what_settings_leave_out(data: Path) -> None:
    completed = patch.with_data({"head": "fc"}, net_of(), solver_of(), data)
    assert completed["classes"] == 3
    assert completed["input_shape"] == [3, 5, 7]
    # 17 entries in batches of 8, as the net has them: three batches hold each once.
    assert completed["solver"]["test_iter"] == 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "expected an LMDB's manifest with channels in it, found none"),
        ("[1]", "expected an LMDB's manifest with channels in it, found none"),
        ('{"entries": 3}', r"found none \('channels'\)"),
        ('{"channels": null}', "expected channels to be a whole number from 1 on, found None"),
        ('{"channels": 0}', "expected channels to be a whole number from 1 on, found 0"),
    ],
)
def test_manifests_that_tell_nothing_are_named(data: Path, content: str, message: str) -> None:
    (data / "lmdb" / "train.json").write_text(content)
    with pytest.raises(ToolError, match=rf"lmdb/train\.json: .*{message}.*make the LMDB again"):
        patch.with_data({"head": "fc"}, net_of(), solver_of(), data)


def test_settings_go_before_what_data_tells(data: Path) -> None:
    settings = {
        "head": "fc",
        "classes": 9,
        "input_shape": [1, 2, 2],
        "batch_size": {"val": 17},
        "solver": {"base_lr": 1},
    }
    completed = patch.with_data(settings, net_of(), solver_of(), data)
    assert completed["classes"] == 9
    assert completed["input_shape"] == [1, 2, 2]
    assert completed["solver"] == {"base_lr": 1, "test_iter": 1}
    told = patch.with_data({"solver": {"test_iter": 5}}, net_of(), solver_of(), data)
    assert told["solver"]["test_iter"] == 5


def test_epochs_are_passes_over_the_training_images(data: Path) -> None:
    # Of 30 entries an iteration takes 8, the net's batch, or 2 times 5.
    told = {"solver": {"max_iter": {"epochs": 10}, "stepvalue": {"epochs": [1, 2.5]}}}
    completed = patch.with_data(told, net_of(), solver_of(), data)["solver"]
    assert (completed["max_iter"], completed["stepvalue"]) == (38, [4, 10])
    larger = {**told, "batch_size": {"train": 5, "effective": 10}}
    completed = patch.with_data(larger, net_of(), solver_of(), data)["solver"]
    assert (completed["max_iter"], completed["stepvalue"]) == (30, [3, 8])


def test_epochs_without_the_data_are_told_where_it_is_asked_for() -> None:
    with pytest.raises(ToolError, match=r"solver\.max_iter is {'epochs': 1}; .*, --data"):
        patch.solver_fields(net_of(), {"solver": {"max_iter": {"epochs": 1}}})


def test_a_net_that_keeps_its_head_and_never_tests_needs_neither(data: Path) -> None:
    completed = patch.with_data({}, net_of(), solver_of(""), data)
    assert "classes" not in completed
    assert "test_iter" not in completed["solver"]
