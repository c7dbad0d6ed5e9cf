"""caffetools.preflight: nothing to say of a sound training, and each mistake by its name."""

from __future__ import annotations

import json
import re
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bvlc as bvlc_build
import numpy as np
import pytest
from google.protobuf import text_format
from recipes import learnable_images, write_lmdb

from caffe.proto import caffe_pb2
from caffetools import databases
from caffetools.cli import ToolError
from caffetools.dataset.duplicates import HEADER
from caffetools.files import write_csv
from caffetools.mean import blob
from caffetools.preflight import cost, first_loss, records
from caffetools.preflight.__main__ import Preflight, main
from caffetools.preflight.finding import Finding

CLASSES = 4
NET = """
layer { name: "data" type: "Data" top: "data" top: "label" include { phase: TRAIN }
  transform_param { scale: 0.0039 crop_size: 8 }
  data_param { source: "train" batch_size: 10 backend: LMDB } }
layer { name: "data" type: "Data" top: "data" top: "label" include { phase: TEST }
  transform_param { scale: 0.0039 crop_size: 8 }
  data_param { source: "val" batch_size: 4 backend: LMDB } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  param { lr_mult: 1 } param { lr_mult: 2 }
  convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "conv" }
layer { name: "scale" type: "Scale" bottom: "conv" top: "conv" scale_param { bias_term: true } }
layer { name: "ip_new" type: "InnerProduct" bottom: "conv" top: "ip"
  inner_product_param { num_output: 4 weight_filler { type: "xavier" } } }
layer { name: "drop" type: "Dropout" bottom: "ip" top: "ip" }
layer { name: "accuracy" type: "Accuracy" bottom: "ip" bottom: "label" top: "accuracy"
  include { phase: TEST } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""
SOLVER = """
net: "train_val.prototxt" base_lr: 0.01 lr_policy: "step" gamma: 0.1 stepsize: 50 max_iter: 100
momentum: 0.9 test_iter: 3 test_interval: 20 snapshot: 50 snapshot_prefix: "snapshots/x"
"""


class Case:
    """A folder with a sound training, which tests then spoil."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.net = text_format.Parse(NET, caffe_pb2.NetParameter())
        self.solver = text_format.Parse(SOLVER, caffe_pb2.SolverParameter())
        self.weights = caffe_pb2.NetParameter()
        shapes = {
            "conv": [(4, 3, 3, 3), (4,)], "bn": [(4,), (4,), (1,)], "scale": [(4,), (4,)],
            "ip_old": [(7, 144), (7,)],
        }  # fmt: skip
        random = np.random.default_rng(0)
        for name, blobs in shapes.items():
            layer = self.weights.layer.add(name=name)
            for shape in blobs:
                values = random.uniform(0.1, 0.3, shape)
                layer.blobs.add(data=values.ravel().tolist()).shape.dim.extend(shape)
        self.images, self.labels = learnable_images(40, CLASSES, (3, 10, 12))
        self.val_labels = self.labels[:12].copy()
        self.arguments: list[str] = []

    def write(self) -> list[str]:
        """The files, and the command's arguments."""
        for name, labels in (("train", self.labels), ("val", self.val_labels)):
            if not (self.folder / name).exists():
                write_lmdb(self.folder / name, self.images[: len(labels)], labels)
        (self.folder / "train_val.prototxt").write_text(text_format.MessageToString(self.net))
        (self.folder / "solver.prototxt").write_text(text_format.MessageToString(self.solver))
        (self.folder / "w.caffemodel").write_bytes(self.weights.SerializeToString())
        (self.folder / "classes.txt").write_text("".join(f"{i}\n" for i in range(CLASSES)))
        return [
            *("--solver", "solver.prototxt", "--weights", "w.caffemodel"),
            *("--classes", "classes.txt", "--output", "found.json", *self.arguments),
        ]

    def layer(self, name: str, which: int = 0) -> Any:
        return [layer for layer in self.net.layer if layer.name == name][which]

    def blobs(self, name: str) -> Any:
        return next(layer for layer in self.weights.layer if layer.name == name).blobs

    def findings(self) -> tuple[int | None, list[Finding]]:
        status = main(self.write())
        written = json.loads((self.folder / "found.json").read_text())
        return status, [Finding(**row) for row in written["findings"]]


@pytest.fixture
def case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Case:
    monkeypatch.chdir(tmp_path)
    return Case(tmp_path)


def test_a_sound_training_has_notes_alone(case: Case) -> None:
    status, found = case.findings()
    assert status is None
    assert {(one.level, one.check) for one in found} == {
        ("note", "loading"), ("note", "memory"), ("note", "disk"), ("note", "first-loss"),
    }  # fmt: skip
    written = json.loads((case.folder / "found.json").read_text())
    assert written["histograms"] == {"TRAIN": [10] * 4, "TEST": [3] * 4}


# Each spoils the sound training; then the check, its level, and words that it must say.
def labels_from_one(case: Case) -> None:
    case.labels = case.labels + 1


def label_beyond(case: Case) -> None:
    case.labels[[7, 9]] = 6


def no_image_of_a_class(case: Case) -> None:
    case.labels[case.labels == 2] = 1


def one_class_has_most(case: Case) -> None:
    case.labels[:] = 0
    case.labels[[1, 9, 17]] = [1, 2, 3]


def sorted_records(case: Case) -> None:
    case.labels = np.sort(case.labels)


def other_classes(case: Case) -> None:
    case.layer("ip_new").inner_product_param.num_output = 5


def crop_too_large(case: Case) -> None:
    case.layer("data").transform_param.crop_size = 11


def no_mean_file(case: Case) -> None:
    case.layer("data").transform_param.mean_file = "none.binaryproto"


def mean_of_the_crop(case: Case) -> None:
    mean = blob(np.full((3, 8, 8), 100, np.float32))
    (case.folder / "mean.binaryproto").write_bytes(mean.SerializeToString())
    case.layer("data").transform_param.mean_file = "mean.binaryproto"


def no_mean_at_all(case: Case) -> None:
    (case.folder / "mean.binaryproto").write_bytes(b"\xff\xff\xff")
    case.layer("data").transform_param.mean_file = "mean.binaryproto"


def two_mean_values(case: Case) -> None:
    case.layer("data").transform_param.mean_value.extend([100, 110])


def mean_of_unit_images(case: Case) -> None:
    case.layer("data").transform_param.mean_value.extend([0.41, 0.45, 0.48])


def mean_the_other_way_round(case: Case) -> None:
    case.images[:, 0] //= 3
    case.images[:, 2] = np.minimum(case.images[:, 2].astype(int) + 60, 255)
    own = case.images.mean(axis=(0, 2, 3))
    case.layer("data").transform_param.mean_value.extend(own[::-1].tolist())


def gray_images(case: Case) -> None:
    case.images = case.images[:, :1]


def gray_weights(case: Case) -> None:
    case.blobs("conv")[0].shape.dim[1] = 1
    del case.blobs("conv")[0].data[36:]


def head_not_renamed(case: Case) -> None:
    case.weights.layer[-1].name = "ip_new"


def head_of_the_same_classes(case: Case) -> None:
    case.weights.layer[-1].name = "ip_new"
    case.blobs("ip_new")[0].shape.dim[0] = case.blobs("ip_new")[1].shape.dim[0] = 4
    del case.blobs("ip_new")[0].data[4 * 144 :]
    del case.blobs("ip_new")[1].data[4:]


def the_same_and_meant_to_be_new(case: Case) -> None:
    head_of_the_same_classes(case)
    case.arguments = ["--new-head", "ip_new"]


def head_renamed_twice(case: Case) -> None:
    case.layer("ip_new").name = "ip_flowers_flowers"


def head_renamed_in_one_phase(case: Case) -> None:
    other = case.net.layer.add()
    other.CopyFrom(case.layer("ip_new"))
    other.name = "ip_old"
    other.include.add(phase=caffe_pb2.TEST)
    case.layer("ip_new").include.add(phase=caffe_pb2.TRAIN)


def misspelt_layer(case: Case) -> None:
    case.layer("conv").name = "conv1"


def weights_of_another_net(case: Case) -> None:
    for layer in case.weights.layer:
        layer.name += "_other"


def other_kernels(case: Case) -> None:
    case.layer("conv").convolution_param.num_output = 5


def frozen_head(case: Case) -> None:
    for _ in range(2):
        case.layer("ip_new").param.add(lr_mult=0)


def everything_frozen(case: Case) -> None:
    for name, count in (("conv", 2), ("scale", 2), ("ip_new", 2)):
        case.layer(name).ClearField("param")
        for _ in range(count):
            case.layer(name).param.add(lr_mult=0)


def statistics_of_the_test_batch(case: Case) -> None:
    case.layer("bn").batch_norm_param.use_global_stats = False


def no_statistics_to_keep(case: Case) -> None:
    case.layer("bn").batch_norm_param.use_global_stats = True
    case.layer("bn").name = "bn_other"


def empty_statistics(case: Case) -> None:
    case.blobs("bn")[2].data[0] = 0


def no_scale_layer(case: Case) -> None:
    case.net.layer.remove(case.layer("scale"))


def small_batches(case: Case) -> None:
    case.layer("data").data_param.batch_size = 4


def no_net(case: Case) -> None:
    case.solver.net = "absent.prototxt"


def solver_as_net(case: Case) -> None:
    case.solver.net = "solver.prototxt"


def unknown_type(case: Case) -> None:
    case.layer("drop").type = "Droput"


def field_of_a_fork(case: Case) -> None:
    text_format.Merge("dropout_param { scale_train: true }", case.layer("drop"))


def field_of_ours(case: Case) -> None:
    layer = case.layer("data")
    text_format.Merge("data_param { shuffle: true } transform_param { augmentation {} }", layer)


def no_loss(case: Case) -> None:
    case.layer("loss").include.add(phase=caffe_pb2.TEST)


def unknown_policy(case: Case) -> None:
    case.solver.lr_policy = "stpe"


def step_without_size(case: Case) -> None:
    case.solver.ClearField("stepsize")


def steps_that_fall(case: Case) -> None:
    case.solver.lr_policy = "multistep"
    case.solver.stepvalue.extend([60, 20])


def no_learning_rate(case: Case) -> None:
    case.solver.base_lr = 0


def rate_never_falls(case: Case) -> None:
    case.solver.stepsize = 500


def too_much_momentum(case: Case) -> None:
    case.solver.momentum = 1


def no_snapshots(case: Case) -> None:
    case.solver.snapshot = 0


def tests_of_a_part(case: Case) -> None:
    case.solver.test_iter[0] = 2


def tests_of_too_many(case: Case) -> None:
    case.solver.test_iter[0] = 7


def tests_that_wrap(case: Case) -> None:
    case.val_labels = case.val_labels[:11]


def no_tests(case: Case) -> None:
    case.solver.ClearField("test_iter")
    case.solver.ClearField("test_interval")


def no_data(case: Case) -> None:
    case.layer("data").data_param.source = "absent"


def scores_without_measure(case: Case) -> None:
    case.blobs("conv")[0].data[0] = float("nan")


def fresh_where_all_is_loaded(case: Case) -> None:
    case.arguments = ["--no-new-head"]


def a_head_that_is_sure(case: Case) -> None:
    case.layer("ip_new").inner_product_param.weight_filler.type = "gaussian"
    case.layer("ip_new").inner_product_param.weight_filler.std = 50


def write_duplicates(case: Case, *rows: tuple[str, ...]) -> None:
    write_csv(case.folder / "duplicates.csv", HEADER, rows)
    case.arguments = ["--duplicates", "duplicates.csv"]


def copies_across_splits(case: Case) -> None:
    write_duplicates(
        case,
        ("a,1.png", "val", "a", "a/2.png", "train", "a", "exact", "0.00"),
        ("a/9.png", "test", "a", "a/2.png", "train", "a", "exact", "0.00"),
        ("a/9.png", "test", "a", "a,1.png", "val", "a", "exact", "0.00"),
        ("b/3.png", "test", "b", "b/1.png", "train", "b", "near", "1.25"),
    )


def copies_of_two_classes(case: Case) -> None:
    write_duplicates(case, ("a/1", "train", "a", "b/2", "train", "b", "exact", "0.00"))


def another_table(case: Case) -> None:
    (case.folder / "duplicates.csv").write_text("path,label\na,1\n")
    case.arguments = ["--duplicates", "duplicates.csv"]


MISTAKES: list[tuple[Callable[[Case], None], str, str, str]] = [
    (labels_from_one, "labels", "error", "labels from 1 to 4, expected 0 to 3 .* start at 1"),
    (label_beyond, "labels", "error", "outside: 00000007, 00000009"),
    (copies_across_splits, "duplicates", "warning",
     r"images of val and test .*: 2 byte for byte, 1 as .*; 'a,1\.png' \(val, a\) is "
     r"'a/2\.png' \(train, a\), .* and 1 more"),
    (copies_of_two_classes, "duplicates", "warning",
     r"of another class elsewhere: 1; 'a/1' \(train, a\) is"),
    (another_table, "duplicates", "error", "expected the columns path, split, class"),
    (no_image_of_a_class, "class-histogram", "warning", "no record of class 2"),
    (one_class_has_most, "class-histogram", "warning", "37 records of class 0 and 1 of class 1"),
    (sorted_records, "shuffling", "error", "changes 3 times, in a random order .* about 30 times"),
    (other_classes, "labels", "error", "num_output 5, and the data set has 4 classes"),
    (crop_too_large, "geometry", "error", r"crop_size is 11, and there are images of 10x12"),
    (no_mean_file, "mean", "error", "no mean file 'none.binaryproto'"),
    (mean_of_the_crop, "mean", "error", "its mean is 3x8x8 .* 3x10x12; a mean is that of whole"),
    (no_mean_at_all, "mean", "error", "expected a BlobProto"),
    (two_mean_values, "mean", "error", "2 mean_values for images of 3 channels"),
    (mean_of_unit_images, "mean", "warning", "looks like that of images from 0 to 1"),
    (mean_the_other_way_round, "channels", "warning", "better the other way round"),
    (gray_images, "channels", "error", "kernels of 3 channels, and the images have 1"),
    (gray_weights, "channels", "error", "kernels of 1 channel, and the images have 3"),
    (head_not_renamed, "head", "error", r"blobs \(7, 144\), \(7,\), the net \(4, 144\), \(4,\)"),
    (head_of_the_same_classes, "head", "warning", "would not start fresh, but with the classes"),
    (the_same_and_meant_to_be_new, "head", "warning", "this head would not start fresh, but"),
    (head_renamed_twice, "head", "warning", "renamed twice"),
    (head_renamed_in_one_phase, "phases", "error", "TEST has it and phase TRAIN does not"),
    (misspelt_layer, "loading", "error", "start fresh, silently: .* it has 'conv', which the net"),
    (weights_of_another_net, "loading", "error", "none of its layers is in the net"),
    (fresh_where_all_is_loaded, "loading", "error",
     "silently: w.caffemodel has no layer of that name"),
    (other_kernels, "loading", "error", r"has blobs \(4, 3, 3, 3\), \(4,\), the net \(5, 3, 3, 3"),
    (frozen_head, "frozen", "error", "starts fresh and has lr_mult 0"),
    (everything_frozen, "frozen", "error", "every layer has lr_mult 0"),
    (statistics_of_the_test_batch, "batch-norm", "error", "false in phase TEST too"),
    (no_statistics_to_keep, "batch-norm", "error", "no statistics to load"),
    (empty_statistics, "batch-norm", "error", "hold no statistics"),
    (no_scale_layer, "batch-norm", "warning", "no Scale layer follows"),
    (small_batches, "batch-norm", "warning", "batches of 4, whose statistics are noise"),
    (no_net, "net", "error", "'absent.prototxt' is no file"),
    (solver_as_net, "net", "error", "is no net but a solver"),
    (unknown_type, "layer-type", "error", "no layer type 'Droput'; did you mean 'Dropout'"),
    (field_of_a_fork, "foreign-field", "warning", "scale_train: of a fork of Caffe"),
    (field_of_ours, "own-field", "note", "augmentation, shuffle: Recaffe's own"),
    (no_loss, "phases", "error", "no layer of phase TRAIN is a loss"),
    (unknown_policy, "lr-policy", "error", "stpe.*did you mean 'step'"),
    (step_without_size, "lr-policy", "error", "'step' needs stepsize"),
    (steps_that_fall, "lr-policy", "warning", r"stepvalue \[60, 20\] does not ascend"),
    (no_learning_rate, "lr-policy", "error", "base_lr is 0"),
    (rate_never_falls, "lr-policy", "warning", "first falls at iteration 500"),
    (too_much_momentum, "solver", "error", "momentum is 1"),
    (no_snapshots, "solver", "warning", "snapshot is 0"),
    (tests_of_a_part, "test-iter", "warning", "2 batches of 4, 8 of the 12 entries"),
    (tests_of_too_many, "test-iter", "warning", "28 entries of 12"),
    (tests_that_wrap, "test-iter", "note", "counts 1 of them twice"),
    (no_tests, "test-iter", "warning", "no test_iter"),
    (no_data, "data", "error", "absent: expected an LMDB"),
    (scores_without_measure, "first-loss", "error", "it is nan, expected about 1.386"),
    (a_head_that_is_sure, "first-loss", "warning", "far above guessing, 1.386"),
]  # fmt: skip
IDS = [mistake[0].__name__ for mistake in MISTAKES]


@pytest.mark.parametrize(("spoil", "check", "level", "words"), MISTAKES, ids=IDS)
def test_a_mistake_is_found(
    case: Case, spoil: Callable[[Case], None], check: str, level: str, words: str
) -> None:
    spoil(case)
    status, found = case.findings()
    matching = [one for one in found if one.check == check and one.level == level]
    told = "\n".join(f"{one.place}: {one.found}" for one in matching)
    assert matching, [str(one) for one in found]
    assert re.search(words, told), told
    assert status == (1 if any(one.level == "error" for one in found) else None)
    if level != "note":
        assert all(one.fix for one in matching)
    # The gravest first.
    assert [one.level for one in found] == sorted(
        (one.level for one in found), key=["error", "warning", "note"].index
    )


def test_an_accepted_check_stops_nothing(case: Case) -> None:
    sorted_records(case)
    case.arguments = ["--accept", "shuffling"]
    status, found = case.findings()
    assert status is None
    assert [one.level for one in found if one.check == "shuffling"] == ["warning"]


def test_what_comes_after_an_accepted_error_is_looked_at(case: Case) -> None:
    sorted_records(case)
    misspelt_layer(case)
    case.arguments = ["--accept", "shuffling"]
    status, found = case.findings()
    assert status == 1
    assert [one.check for one in found if one.level == "error"] == ["loading"]


def test_a_broken_solver_is_told_with_its_line(case: Case) -> None:
    arguments = case.write()
    (case.folder / "solver.prototxt").write_text('\nnett: "train_val.prototxt"\n')
    assert main(arguments) == 1
    (row,) = json.loads((case.folder / "found.json").read_text())["findings"]
    assert row["check"] == "solver"
    assert "solver.prototxt:2:1: SolverParameter has no field 'nett'" in row["found"]


def test_what_caffe_refuses_is_a_finding_among_others(case: Case) -> None:
    case.layer("ip_new").bottom[0] = "nothing"
    case.solver.snapshot = 0
    status, found = case.findings()
    assert status == 1
    assert [(one.level, one.check) for one in found[:2]] == [
        ("error", "net"),
        ("warning", "solver"),
    ]
    assert "nothing" in found[0].found


def test_a_broken_prototxt_is_told_with_its_line(case: Case) -> None:
    arguments = case.write()
    (case.folder / "train_val.prototxt").write_text("\nlayer { nam: 'x' }\n")
    seen = Preflight(_options(arguments))
    (found,) = seen.findings
    assert found.check == "net"
    assert "train_val.prototxt:2:9: LayerParameter has no field 'nam'" in found.found


def _options(arguments: list[str]) -> Any:
    given = dict(zip(arguments[::2], arguments[1::2], strict=True))
    return Namespace(
        solver=Path(given["--solver"]),
        weights=None,
        classes=None,
        duplicates=None,
        new_head=None,
        no_new_head=False,
        accept=[],
    )


def test_a_cut_off_caffemodel_is_told(case: Case) -> None:
    arguments = case.write()
    (case.folder / "w.caffemodel").write_bytes(case.weights.SerializeToString()[:-5])
    assert main(arguments) == 1
    written = json.loads((case.folder / "found.json").read_text())
    assert [row["check"] for row in written["findings"] if row["level"] == "error"] == ["weights"]


# --- records ----------------------------------------------------------------------------


@pytest.mark.parametrize("label", [0, 1, 127, 128, 70000, 2**31 - 1, -1, -(2**31)])
def test_a_label_is_read_without_the_pixels(label: int) -> None:
    datum = caffe_pb2.Datum(
        channels=3, height=2, width=2, data=bytes(12), label=label, encoded=True,
        float_data=[1.0, 2.0],
    )  # fmt: skip
    assert records.label_of(memoryview(datum.SerializeToString())) == label


def test_a_datum_without_a_label_has_zero() -> None:
    assert records.label_of(memoryview(caffe_pb2.Datum(data=b"x").SerializeToString())) == 0


@pytest.mark.parametrize("value", [b"\x22\x7fshort", b"\x28", b"\x28" + b"\xff" * 11, b"\x0b"])
def test_what_is_no_datum_is_named(tmp_path: Path, value: bytes) -> None:
    (tmp_path / "db").mkdir()
    databases.write(tmp_path / "db", [(b"00000000_a", value)])
    with pytest.raises(ToolError, match="record '00000000_a': expected a Datum, found that it"):
        records.look_through(tmp_path / "db", "lmdb")


def test_an_empty_data_set_is_named(tmp_path: Path) -> None:
    (tmp_path / "db").mkdir()
    databases.write(tmp_path / "db", [])
    with pytest.raises(ToolError, match="found an empty data set"):
        records.look_through(tmp_path / "db", "lmdb")


@pytest.mark.parametrize("backend", databases.BACKENDS)
def test_of_very_many_records_evenly_spaced_ones_are_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    monkeypatch.setattr(records, "MOST_LABELS", 20)
    monkeypatch.setattr(records, "MOST_IMAGES", 3)
    values = [
        (
            b"%08d" % index,
            caffe_pb2.Datum(
                channels=1, height=1, width=1, data=bytes([index]), label=index
            ).SerializeToString(),
        )
        for index in range(50)
    ]
    (tmp_path / "db").mkdir()
    databases.write(tmp_path / "db", values, backend)
    seen = records.look_through(tmp_path / "db", backend)
    assert seen.entries == 50
    assert not seen.is_whole
    assert seen.labels.tolist() == list(range(0, 50, 3))
    assert seen.keys[:2] == ["00000000", "00000003"]
    assert [int(image[0, 0, 0]) for image in seen.images] == [0, 15, 33]


def test_in_a_random_order_labels_change_as_often_as_expected() -> None:
    random = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], [50, 30, 20])
    counts = [records.run_ends(random.permutation(labels)) for _ in range(400)]
    assert records.expected_run_ends(labels) == pytest.approx(np.mean(counts), rel=0.01)


# --- cost -------------------------------------------------------------------------------


def test_more_memory_than_there_is_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "available", lambda: 3 << 30)
    assert [one.level for one in cost.memory_findings(2 << 30, False)] == ["note"]
    _, error = cost.memory_findings(4 << 30, False)
    assert (error.level, error.found) == (
        "error",
        "training takes about 4.0 GiB, more than the 3.0 GiB that are free",
    )
    assert [one.level for one in cost.memory_findings(4 << 30, True)] == ["note"]


def test_this_machine_says_what_is_free() -> None:
    free = cost.available()
    assert free is not None
    assert 1 << 20 < free < 1 << 50


def test_snapshots_that_do_not_fit_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    solver = caffe_pb2.SolverParameter(max_iter=1000, snapshot=10, type="Adam")
    count, each = cost.snapshot_bytes(solver, 1_000_000)
    assert (count, each) == (100, 12_000_000 + (1 << 20))  # weights and two moments
    usage = type("Usage", (), {"free": 50 * each})
    monkeypatch.setattr(cost.shutil, "disk_usage", lambda folder: usage)
    found = list(cost.disk_findings(solver, 1_000_000, tmp_path / "not" / "yet"))
    assert [one.level for one in found] == ["note", "warning"]
    usage.free = each // 2
    assert [one.level for one in cost.disk_findings(solver, 1_000_000, tmp_path)][1] == "error"


def test_a_certain_mistake_has_caffes_own_loss() -> None:
    (found,) = first_loss.loss_findings(87.3365, 10, True)
    assert found.level == "error"
    (found,) = first_loss.loss_findings(float("nan"), 10, True)
    assert "it is nan" in found.found


@pytest.mark.oracle
def test_bvlcs_own_build_finds_the_same(bvlc: bvlc_build.Build, case: Case) -> None:
    case.labels[[7, 9]] = 6
    spoiled = case.write()
    names = ["train", "val", "train_val.prototxt", "solver.prototxt", "w.caffemodel", "classes.txt"]
    with bvlc.workplace({name: case.folder / name for name in names}) as place:
        assert place.module("caffetools.preflight", *spoiled, check=False).status == 1
        theirs = json.loads((place.path / "found.json").read_text())
    assert main(spoiled) == 1
    assert json.loads((case.folder / "found.json").read_text()) == theirs


@pytest.mark.oracle
def test_bvlcs_own_build_finds_nothing_wrong_with_a_sound_training(
    bvlc: bvlc_build.Build, case: Case
) -> None:
    arguments = case.write()
    names = ["train", "val", "train_val.prototxt", "solver.prototxt", "w.caffemodel", "classes.txt"]
    with bvlc.workplace({name: case.folder / name for name in names}) as place:
        assert place.module("caffetools.preflight", *arguments).status == 0
        theirs = json.loads((place.path / "found.json").read_text())["findings"]
    assert main(arguments) is None
    ours = json.loads((case.folder / "found.json").read_text())["findings"]
    # The fresh head starts from another draw.
    assert [row for row in ours if row["check"] != "first-loss"] == [
        row for row in theirs if row["check"] != "first-loss"
    ]
