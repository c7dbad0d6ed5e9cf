"""The trainer and the evaluation, run as they are by BVLC's interpreter and by ours."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import numpy as np
import pytest
from google.protobuf import text_format
from recipes import learnable_images, read_model, without_chance, write_lmdb

import caffe
from caffetools import evaluate, train
from caffetools.history import History, read_history
from caffetools.magnitudes import read_magnitudes
from caffetools.weights import read_weights

pytestmark = pytest.mark.oracle

ENTRIES, CLASSES = 40, 5
TRAIN = (
    *("--solver", "solver.prototxt", "--weights", "initial.caffemodel"),
    *("--snapshots", "snapshots", "--output", "final.caffemodel", "--history", "history.csv"),
    *("--gradients", "gradients.csv"),
)
EVALUATE = (
    *("--net", "train_val.prototxt", "--weights", "final.caffemodel", "--lmdb", "val"),
    *("--output-dir", "evaluation", "--entries", str(ENTRIES)),
)


@pytest.fixture(scope="module")
def both(bvlc, tmp_path_factory) -> tuple[Path, Path]:
    """Two folders with the same training and evaluation: BVLC's and ours."""
    ours = tmp_path_factory.mktemp("ours")
    theirs = tmp_path_factory.mktemp("theirs")
    write_task(ours)
    with contextlib.chdir(ours):
        files = {path.name: path for path in ours.iterdir()}
        with bvlc.workplace(files) as place:
            place.module("caffetools.train", *TRAIN)
            place.module("caffetools.evaluate", *EVALUATE)
            tables = ("history.csv", "gradients.csv", "evaluation/evaluation.json")
            for name in ("final.caffemodel", *tables):
                target = theirs / name
                target.parent.mkdir(exist_ok=True)
                target.write_bytes((place.path / name).read_bytes())
            # It goes on from its end, where it tests again, on BVLC's build from the first record.
            place.module("caffetools.train", *TRAIN)
            weights = (place.path / "final.caffemodel").read_bytes()
            assert weights == (theirs / "final.caffemodel").read_bytes()
        assert train.main(TRAIN) is None
        evaluate.main(EVALUATE)
    return theirs, ours


def write_task(folder: Path) -> None:
    images, labels = learnable_images(ENTRIES, CLASSES, (1, 28, 28))
    write_lmdb(folder / "train", images, labels)
    images, labels = learnable_images(ENTRIES, CLASSES, (1, 28, 28), seed=9)
    labels[::3] = (labels[::3] + 1) % CLASSES  # so that there are errors to count
    write_lmdb(folder / "val", images, labels)
    net, solver = read_model("lenet")
    without_chance(net, 12)
    net.layer[1].data_param.source = "val"
    for field in ("test_iter", "display"):
        solver.ClearField(field)
    text_format.Merge(
        'net: "train_val.prototxt" base_lr: 0.01 max_iter: 15 test_iter: 3 test_interval: 4 '
        "snapshot: 6 random_seed: 1",
        solver_without(solver, "net", "base_lr", "max_iter", "test_interval", "snapshot"),
    )
    (folder / "train_val.prototxt").write_text(text_format.MessageToString(net))
    (folder / "solver.prototxt").write_text(text_format.MessageToString(solver))
    with contextlib.chdir(folder):
        caffe.set_random_seed(1)
        caffe.Net("train_val.prototxt", caffe.TRAIN).save("initial.caffemodel")


def solver_without(solver, *fields: str):
    for field in fields:
        solver.ClearField(field)
    return solver


def histories(both) -> tuple[History, History]:
    theirs, ours = both
    return read_history(theirs / "history.csv"), read_history(ours / "history.csv")


def test_both_trainers_write_the_same_rows(both):
    theirs, ours = histories(both)
    np.testing.assert_array_equal(ours.iteration, np.arange(16))
    np.testing.assert_array_equal(theirs.iteration, ours.iteration)
    np.testing.assert_array_equal(theirs.learning_rate, ours.learning_rate)
    tested = np.flatnonzero(np.isfinite(ours.test_loss))
    np.testing.assert_array_equal(tested, [0, 4, 8, 12, 15])


def test_both_trainers_come_to_the_same_losses(both):
    theirs, ours = histories(both)
    assert theirs.loss[15] < 0.8 * theirs.loss[1]
    np.testing.assert_allclose(ours.loss, theirs.loss, rtol=1e-4)
    np.testing.assert_allclose(ours.test_loss, theirs.test_loss, rtol=1e-4)
    np.testing.assert_array_equal(ours.test_accuracy, theirs.test_accuracy)


def test_both_trainers_record_the_same_gradients_and_updates(both):
    theirs, ours = (read_magnitudes(folder / "gradients.csv") for folder in both)
    layers = ["conv1", "conv2", "ip1", "ip2"]
    assert [row[:2] for row in ours] == [(step, name) for step in range(1, 16) for name in layers]
    assert [row[:2] for row in theirs] == [row[:2] for row in ours]
    expected = np.array([row[2:] for row in theirs])
    assert (expected > 0).all()
    np.testing.assert_allclose([row[2:] for row in ours], expected, rtol=1e-3)


def test_both_trainers_come_to_the_same_weights(both):
    theirs, ours = (read_weights(folder / "final.caffemodel") for folder in both)
    initial = read_weights(both[1] / "initial.caffemodel")
    assert list(theirs) == list(ours)
    for name, blobs in theirs.items():
        for before, expected, found in zip(initial[name], blobs, ours[name], strict=True):
            moved = np.linalg.norm(expected - before)
            assert moved > 0
            assert np.linalg.norm(found - expected) < 1e-3 * moved, name


def test_both_evaluations_count_the_same_errors(both):
    theirs, ours = (
        json.loads((folder / "evaluation" / "evaluation.json").read_text()) for folder in both
    )
    assert ours["entries"] == theirs["entries"] == ENTRIES
    assert 0 < ours["errors"] < ENTRIES
    assert ours["errors"] == theirs["errors"]
    assert ours["mean_loss"] == pytest.approx(theirs["mean_loss"], rel=1e-4)
    assert [row["recall"] for row in ours["per_class"]] == [
        row["recall"] for row in theirs["per_class"]
    ]


def test_bvlcs_build_is_not_asked_for_what_only_ours_can(bvlc, tmp_path):
    write_task(tmp_path)
    with bvlc.workplace({path.name: path for path in tmp_path.iterdir()}) as place:
        refused = place.module("caffetools.train", *TRAIN, "--precision", "bf16", check=False)
    assert refused.status == 1
    assert refused.stderr.startswith("error: --precision, --compile and --deterministic are for")
