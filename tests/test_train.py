"""Training by command: its history, its results, how it goes on, and what its mistakes are told."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import weakref
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from google.protobuf import text_format
from recipes import learnable_images, read_model, without_chance, write_lmdb

from caffe.proto import caffe_pb2
from caffetools import train
from caffetools.cli import ToolError
from caffetools.history import read_history, read_rows
from caffetools.magnitudes import interval, read_magnitudes
from caffetools.weights import read_weights
from recaffe.context import context
from recaffe.errors import CaffeError
from recaffe.solver.solver import Solver

ENTRIES = 16
CLASSES = 4
# Paths are relative, since a caffemodel names the LMDBs of its net as the net does.
ARGUMENTS = (
    *("--solver", "solver.prototxt", "--snapshots", "snapshots"),
    *("--output", "final.caffemodel", "--history", "history.csv"),
    *("--gradients", "gradients.csv"),
)


class Task:
    """LeNet on a few images that it can learn; one batch holds them all."""

    def __init__(self, folder: Path, **solver_fields: object) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        images, labels = learnable_images(ENTRIES, CLASSES, (1, 28, 28))
        write_lmdb(folder / "train", images, labels)
        write_lmdb(folder / "val", images[:8], labels[:8])
        self.net, self.param = read_model("lenet")
        without_chance(self.net, ENTRIES)
        self.net.layer[1].data_param.source = "val"
        self.net.layer[1].data_param.batch_size = 4
        for field in ("test_iter", "display"):
            self.param.ClearField(field)
        self.param.net = "train_val.prototxt"
        self.param.test_iter.append(2)
        self.set(base_lr=0.02, max_iter=12, test_interval=5, snapshot=4, random_seed=1)
        self.set(**solver_fields)
        self.write()

    def set(self, **fields: object) -> None:
        """Set fields of the solver."""
        for name, value in fields.items():
            self.param.ClearField(name)
            text_format.Merge(f"{name}: {value}", self.param)

    def write(self) -> None:
        """Write net and solver as they are now."""
        (self.folder / "train_val.prototxt").write_text(text_format.MessageToString(self.net))
        self.solver.write_text(text_format.MessageToString(self.param))

    @property
    def solver(self) -> Path:
        return self.folder / "solver.prototxt"

    @property
    def snapshots(self) -> Path:
        return self.folder / "snapshots"

    @property
    def weights(self) -> Path:
        return self.folder / "final.caffemodel"

    @property
    def history(self) -> Path:
        return self.folder / "history.csv"

    @property
    def gradients(self) -> Path:
        return self.folder / "gradients.csv"

    def train(self, *options: object) -> int | None:
        """Train in this process; what a mistake raises is the caller's to catch."""
        with contextlib.chdir(self.folder):
            return train.main([*ARGUMENTS, *map(str, options)])

    def start(self, *options: object) -> subprocess.Popen[str]:
        """Start training in a process of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "caffetools.train", *ARGUMENTS, *map(str, options)],
            cwd=self.folder,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stderr=subprocess.PIPE,
            text=True,
        )


@pytest.fixture
def task(tmp_path) -> Task:
    return Task(tmp_path)


@pytest.fixture(autouse=True)
def _log(caplog):
    caplog.set_level(logging.INFO)


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# --- one training ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Task:
    task = Task(tmp_path_factory.mktemp("trained"))
    assert task.train() is None
    return task


def test_history_has_a_row_an_iteration(trained):
    rows = read_rows(trained.history)
    assert [row.iteration for row in rows] == list(range(13))
    assert rows[0].loss is None
    assert rows[0].learning_rate is None
    assert all(row.loss is not None for row in rows[1:])
    # Unschooled, LeNet takes its outputs for alike.
    assert rows[1].loss == pytest.approx(np.log(26), rel=0.1)
    assert rows[12].loss < 0.8 * rows[1].loss


def test_history_has_the_rate_of_each_step(trained):
    rates = [row.learning_rate for row in read_rows(trained.history)[1:]]
    expected = [0.02 * (1 + 1e-4 * iteration) ** -0.75 for iteration in range(12)]
    np.testing.assert_allclose(rates, expected, rtol=1e-6)


def test_tests_run_at_their_interval_and_at_the_end(trained):
    tested = [row for row in read_rows(trained.history) if row.test_loss is not None]
    assert [row.iteration for row in tested] == [0, 5, 10, 12]
    for row in tested:
        assert row.test_loss > 0
        assert 8 * row.test_accuracy == pytest.approx(round(8 * row.test_accuracy))
    assert tested[-1].test_loss < tested[0].test_loss


def test_the_last_test_is_of_the_final_weights(trained):
    import caffe

    with contextlib.chdir(trained.folder):
        net = caffe.Net(trained.param.net, caffe.TEST, weights=str(trained.weights))
    losses = [float(net.forward()["loss"]) for _ in range(2)]
    assert read_rows(trained.history)[-1].test_loss == pytest.approx(np.mean(losses), rel=1e-5)


def test_final_weights_are_of_every_layer_and_new(trained):
    weights = read_weights(trained.weights)
    assert list(weights) == ["conv1", "conv2", "ip1", "ip2"]
    assert weights["ip2"][0].shape == (26, 500)
    assert np.abs(weights["ip2"][1]).max() > 0  # biases start from 0


def test_training_again_elsewhere_gives_the_same_bytes(trained, tmp_path):
    other = Task(tmp_path)
    other.train()
    assert other.weights.read_bytes() == trained.weights.read_bytes()
    assert other.history.read_bytes() == trained.history.read_bytes()
    assert other.gradients.read_bytes() == trained.gradients.read_bytes()


def test_magnitudes_are_those_of_each_step(trained):
    import caffe

    with contextlib.chdir(trained.folder):
        solver = caffe.get_solver("solver.prototxt")
        rows = read_magnitudes(trained.gradients)
        gradients: dict[str, float] = {}

        def note() -> None:
            for name, blobs in solver.net.params.items():
                gradients[name] = float(np.sqrt(sum((blob.diff**2).sum() for blob in blobs)))

        solver.add_callback(lambda: None, note)
        for iteration in range(1, 4):
            before = {name: [b.data.copy() for b in blobs] for name, blobs in _params(solver)}
            solver.step(1)
            found = [row for row in rows if row.iteration == iteration]
            assert [row.layer for row in found] == ["conv1", "conv2", "ip1", "ip2"]
            for row, (name, blobs) in zip(found, _params(solver), strict=True):
                moved = sum(
                    ((blob.data - old) ** 2).sum()
                    for blob, old in zip(blobs, before[name], strict=True)
                )
                assert row.gradient == pytest.approx(gradients[name], rel=1e-4)
                assert row.update == pytest.approx(np.sqrt(moved), rel=1e-3)
                weights = np.sqrt(sum((blob.data**2).sum() for blob in blobs))
                assert row.weights == pytest.approx(weights, rel=1e-4)


def _params(solver):
    return list(solver.net.params.items())


def test_about_a_hundred_iterations_have_magnitudes(trained):
    assert [interval(count) for count in (0, 12, 199, 200, 1000, 450000)] == [1, 1, 1, 2, 8, 4096]
    assert {row.iteration for row in read_magnitudes(trained.gradients)} == set(range(1, 13))


def test_recording_magnitudes_changes_no_number_of_the_training(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(train.Recorder, "recording", lambda self, iteration: nullcontext())
    other = Task(tmp_path)
    other.train()
    assert read_magnitudes(other.gradients) == []
    assert other.weights.read_bytes() == trained.weights.read_bytes()
    assert other.history.read_bytes() == trained.history.read_bytes()


def test_recording_does_not_keep_the_solver_from_being_let_go(trained, monkeypatch):
    monkeypatch.chdir(trained.folder)
    trainer = train.Trainer(trained.solver, None, trained.snapshots)
    solver = weakref.ref(trainer.solver)
    del trainer
    assert solver() is None


def test_recording_keeps_no_blobs(task, monkeypatch):
    kept = []
    compute = Solver._compute_gradients
    monkeypatch.setattr(
        Solver, "_compute_gradients", lambda self, keep: [kept.append(keep), compute(self, keep)]
    )
    task.train()
    assert kept == [False] * 12


def test_another_seed_gives_other_weights(trained, tmp_path):
    other = Task(tmp_path, random_seed=2)
    other.train()
    assert other.weights.read_bytes() != trained.weights.read_bytes()


def test_weights_to_start_from_are_used(trained, task):
    before = read_history(trained.history)
    task.train("--weights", trained.weights)
    after = read_history(task.history)
    # No mean over the batch changes: it is the same one, after twelve steps.
    assert after.loss[1] < before.loss[12]
    assert after.test_loss[0] == pytest.approx(before.test_loss[12], rel=1e-6)


def test_the_log_tells_what_was_copied(trained, task):
    for layer in task.net.layer:
        if layer.name == "ip2":
            layer.name = "ip2_new"
    task.write()
    task.set(max_iter=0)
    stderr = task.start("--weights", trained.weights).communicate(timeout=120)[1]
    assert f"weights from {trained.weights}: 3 copied, 1 newly initialised, 1 ignored" in stderr
    assert "  conv1    copied               20x1x5x5, 20\n" in stderr
    assert "  ip2_new  newly initialised    26x500, 26 (the file has 'ip2', of a name" in stderr


def test_without_a_test_the_history_has_its_columns_empty(task):
    task.param.ClearField("test_iter")
    task.param.ClearField("test_interval")
    task.write()
    task.train()
    assert all(row.test_loss is None for row in read_rows(task.history))
    assert len(read_rows(task.history)) == 13


def test_test_initialization_and_the_last_snapshot_can_be_left_out(task):
    task.set(test_initialization="false", snapshot_after_train="false", snapshot=0)
    task.write()
    task.train()
    assert read_rows(task.history)[0].test_loss is None
    assert not list(task.snapshots.glob("*.solverstate"))


# --- going on -------------------------------------------------------------------------


def stop_at(monkeypatch, iteration: int, number: int = signal.SIGTERM) -> None:
    """Send this process a signal while it makes the step to ``iteration``."""
    tested = train.Trainer._tested

    def stopping(self):
        if self.rows[-1].iteration == iteration:
            os.kill(os.getpid(), number)
        return tested(self)

    monkeypatch.setattr(train.Trainer, "_tested", stopping)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_training_ends_as_one_that_was_not(trained, task, monkeypatch, caplog, number):
    stop_at(monkeypatch, 7, number)
    assert task.train() == 128 + number
    assert "stopped at iteration 7, after a snapshot" in caplog.text
    assert not task.weights.exists()
    assert not task.history.exists()
    monkeypatch.undo()
    assert task.train() is None
    assert "going on from iteration 7" in caplog.text
    assert task.weights.read_bytes() == trained.weights.read_bytes()
    assert [row.iteration for row in read_rows(task.history)] == list(range(13))
    assert _losses(task) == _losses(trained)
    assert task.gradients.read_bytes() == trained.gradients.read_bytes()


def _losses(task: Task) -> list[float | None]:
    return [row.loss for row in read_rows(task.history)]


def test_the_users_handlers_are_back_after_training(task):
    before = signal.getsignal(signal.SIGTERM)
    task.train()
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_training_stopped_at_its_end_only_tests_and_writes_its_results(
    trained, task, monkeypatch
):
    stop_at(monkeypatch, 12)
    assert task.train() == 143
    monkeypatch.undo()
    monkeypatch.setattr(train.Recorder, "recording", lambda *_: pytest.fail("trained again"))
    assert task.train() is None
    assert task.weights.read_bytes() == trained.weights.read_bytes()
    assert task.history.read_bytes() == trained.history.read_bytes()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_process_that_is_ended_goes_on_from_its_snapshot(tmp_path, number):
    task = Task(tmp_path, max_iter=2000, snapshot=5, test_interval=100)
    process = task.start()
    _wait_for(lambda: list(task.snapshots.glob("*_iter_5.sha256")), process)
    process.send_signal(number)
    stderr = process.communicate(timeout=60)[1]
    assert process.returncode == (143 if number == signal.SIGTERM else -signal.SIGKILL), stderr
    assert "Traceback" not in stderr
    sealed = [path.stem for path in task.snapshots.glob("*.sha256")]
    reached = max(int(stem.rpartition("_")[2]) for stem in sealed)
    assert 5 <= reached < 2000

    process = task.start()
    later = reached // 5 * 5 + 5
    _wait_for(lambda: list(task.snapshots.glob(f"*_iter_{later}.sha256")), process)
    process.terminate()
    stderr = process.communicate(timeout=60)[1]
    assert f"going on from iteration {reached}" in stderr
    rows = read_rows(task.snapshots / "history.csv")
    assert [row.iteration for row in rows] == list(range(len(rows)))
    assert len(rows) > later
    assert not list(task.snapshots.glob(".*.partial"))


def _wait_for(condition, process: subprocess.Popen[str]) -> None:
    for _ in itertools.takewhile(lambda _: process.poll() is None, range(6000)):
        if condition():
            return
        time.sleep(0.01)
    pytest.fail(f"it did not come to that: {process.communicate()[1]}")


def stopped(task: Task, monkeypatch, iteration: int = 7) -> None:
    with monkeypatch.context() as context:
        stop_at(context, iteration)
        assert task.train() == 143


@pytest.mark.parametrize("suffix", ["solverstate", "caffemodel"])
def test_a_truncated_snapshot_is_named_and_passed_over(trained, task, monkeypatch, caplog, suffix):
    stopped(task, monkeypatch)
    newest = task.snapshots / f"snapshot_iter_7.{suffix}"
    newest.write_bytes(newest.read_bytes()[:1000])
    task.train()
    assert "snapshot_iter_7.solverstate: passed over, it cannot be used" in caplog.text
    assert "going on from iteration 4" in caplog.text
    assert task.weights.read_bytes() == trained.weights.read_bytes()
    assert _losses(task) == _losses(trained)


@pytest.mark.parametrize("suffix", ["solverstate", "caffemodel"])
def test_a_changed_byte_of_a_snapshot_is_noticed(trained, task, monkeypatch, caplog, suffix):
    stopped(task, monkeypatch)
    newest = task.snapshots / f"snapshot_iter_7.{suffix}"
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    task.train()
    assert f"passed over, it cannot be used: {newest.name} is not what was written" in caplog.text
    assert "going on from iteration 4" in caplog.text
    assert task.weights.read_bytes() == trained.weights.read_bytes()


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"0  snapshot_iter_7.caffemodel\n"])
def test_a_broken_seal_seals_nothing(task, monkeypatch, caplog, content):
    stopped(task, monkeypatch)
    (task.snapshots / "snapshot_iter_7.sha256").write_bytes(content)
    task.train()
    assert "snapshot_iter_7.caffemodel is not what was written" in caplog.text
    assert "going on from iteration 4" in caplog.text


def test_a_snapshot_that_was_not_written_to_its_end_is_passed_over(task, monkeypatch, caplog):
    stopped(task, monkeypatch)
    (task.snapshots / "snapshot_iter_7.sha256").unlink()
    task.train()
    assert "it was not written to its end: snapshot_iter_7.sha256 is not there" in caplog.text
    assert "going on from iteration 4" in caplog.text


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="no sha256sum here")
def test_the_seal_is_one_that_sha256sum_checks(task, monkeypatch):
    stopped(task, monkeypatch)
    done = subprocess.run(
        ["sha256sum", "--check", "--strict", "snapshot_iter_7.sha256"], cwd=task.snapshots
    )
    assert done.returncode == 0


def test_a_snapshot_without_its_weights_is_passed_over(task, monkeypatch, caplog):
    stopped(task, monkeypatch)
    (task.snapshots / "snapshot_iter_7.caffemodel").unlink()
    task.train()
    assert (
        "snapshot_iter_7.solverstate: passed over, it cannot be used: its .caffemodel is gone"
        in caplog.text
    )
    assert "going on from iteration 4" in caplog.text


@pytest.mark.parametrize("damage", ["gone", "cut", "no table"])
def test_without_the_history_so_far_training_starts_afresh(
    trained, task, monkeypatch, caplog, damage
):
    stopped(task, monkeypatch)
    history = task.snapshots / "history.csv"
    lines = history.read_text().splitlines(keepends=True)
    if damage == "gone":
        history.unlink()
    else:
        history.write_text("".join(lines[:3]) if damage == "cut" else "nonsense\n")
    task.train()
    assert "going on" not in caplog.text
    assert task.weights.read_bytes() == trained.weights.read_bytes()
    assert task.history.read_bytes() == trained.history.read_bytes()


@pytest.mark.parametrize("damage", ["gone", "cut", "no table"])
def test_without_the_magnitudes_so_far_training_starts_afresh(
    trained, task, monkeypatch, caplog, damage
):
    stopped(task, monkeypatch)
    table = task.snapshots / "gradients.csv"
    lines = table.read_text().splitlines(keepends=True)
    if damage == "gone":
        table.unlink()
    else:
        table.write_text("".join(lines[:-1]) if damage == "cut" else "nonsense\n")
    task.train()
    assert ("going on from iteration 4" in caplog.text) == (damage == "cut")
    assert task.weights.read_bytes() == trained.weights.read_bytes()
    assert task.gradients.read_bytes() == trained.gradients.read_bytes()


def test_a_state_that_does_not_load_leaves_no_magnitudes_behind(trained, task, monkeypatch):
    stopped(task, monkeypatch)
    for state in task.snapshots.glob("*.solverstate"):
        state.write_bytes(b"nonsense")
    task.train()
    assert task.gradients.read_bytes() == trained.gradients.read_bytes()


def test_the_folder_may_be_moved_with_its_snapshots(trained, task, monkeypatch, caplog):
    stopped(task, monkeypatch)
    task.snapshots.rename(task.folder / "moved")
    task.train("--snapshots", "moved")
    assert "going on from iteration 7" in caplog.text
    assert task.weights.read_bytes() == trained.weights.read_bytes()


# --- another length -------------------------------------------------------------------


def same_results(task: Task, other: Task) -> bool:
    """Whether the results of two trainings are the same, byte for byte."""
    return all(
        getattr(task, name).read_bytes() == getattr(other, name).read_bytes()
        for name in ("weights", "history", "gradients")
    )


@pytest.mark.parametrize(
    ("fields", "start"),
    [
        ({"max_iter": 20}, 12),  # its last test was no test of the longer training
        ({"max_iter": 10}, 8),
        ({"max_iter": 12, "snapshot": 5}, 12),
        ({"max_iter": 230}, 12),  # magnitudes of every second iteration, and no longer of each
    ],
)
def test_a_training_of_another_length_goes_on(tmp_path, caplog, fields, start):
    task, whole = Task(tmp_path / "task"), Task(tmp_path / "whole", **fields)
    task.train()
    task.set(**fields)
    task.write()
    task.train()
    assert f"going on from iteration {start}" in caplog.text
    whole.train()
    assert same_results(task, whole)


def test_a_rate_that_follows_from_the_length_starts_afresh(tmp_path, caplog):
    policy = {"lr_policy": '"poly"', "power": 1}
    task = Task(tmp_path / "task", **policy)
    task.train()
    task.set(max_iter=20)
    task.write()
    task.train()
    assert "the snapshots are of another configuration; starting afresh" in caplog.text
    whole = Task(tmp_path / "whole", **policy, max_iter=20)
    whole.train()
    assert same_results(task, whole)


# --- another configuration ------------------------------------------------------------


def _change_solver(task: Task) -> None:
    task.set(base_lr=0.01)
    task.write()


def _change_net(task: Task) -> None:
    task.net.layer[2].param[0].lr_mult = 0.5
    task.write()


def _change_data(task: Task) -> None:
    (task.folder / "train.json").write_text("{}")


@pytest.mark.parametrize("change", [_change_solver, _change_net, _change_data])
def test_another_configuration_starts_afresh_and_says_so(task, monkeypatch, caplog, change):
    stopped(task, monkeypatch)
    change(task)
    task.train()
    assert "the snapshots are of another configuration; starting afresh" in caplog.text
    assert "going on" not in caplog.text
    assert not (task.snapshots / "snapshot_iter_7.solverstate").exists()
    assert len(read_rows(task.history)) == 13


def test_the_snapshots_of_the_configuration_before_are_kept(task, monkeypatch):
    stopped(task, monkeypatch)
    before = {path.name for path in task.snapshots.glob("snapshot_*")}
    assert before
    _change_solver(task)
    task.train()
    kept = task.snapshots / "previous"
    assert {path.name for path in kept.glob("snapshot_*")} == before
    _change_net(task)
    task.train()
    # Only one configuration back, and never one within the other.
    assert (kept / "snapshot_iter_12.solverstate").exists()
    assert not (kept / "snapshot_iter_7.solverstate").exists()
    assert not (kept / "previous").exists()


def test_other_weights_start_afresh(trained, task, monkeypatch, caplog):
    stopped(task, monkeypatch)
    task.train("--weights", trained.weights)
    assert "starting afresh" in caplog.text
    assert read_rows(task.history)[1].loss < 1.5


def test_other_code_starts_afresh(trained, task, monkeypatch, caplog):
    task.train()
    monkeypatch.setattr(train, "source_digest", lambda module: "another")
    caplog.clear()
    task.train()
    assert "starting afresh" in caplog.text
    assert "going on" not in caplog.text


# --- two at once ----------------------------------------------------------------------


def test_a_second_trainer_is_told_who_is_at_work(task):
    with train.snapshots.locked(task.snapshots):
        pass
    with train.snapshots.locked(task.snapshots):
        process = task.start()
        stderr = process.communicate(timeout=60)[1]
    assert process.returncode == 1
    holder = rf"\(process {os.getpid()} on [^()\n]+\)"
    assert re.search(f"^error: snapshots: another trainer is at work here {holder}; ", stderr), (
        stderr
    )
    assert "Traceback" not in stderr
    assert not task.weights.exists()


def test_the_lock_is_free_once_its_holder_is_gone(task):
    task.train()
    with (task.snapshots / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_what_a_killed_trainer_left_half_written_is_removed(task):
    task.snapshots.mkdir()
    partial = task.snapshots / ".snapshot_iter_4.caffemodel.123.partial"
    partial.write_bytes(b"half")
    task.train()
    assert not partial.exists()


def test_half_precision_trains_nearly_alike(task, trained):
    try:
        task.train("--precision", "bf16")
    finally:
        context.set_precision("float32")
    half, exact = read_rows(task.history), read_rows(trained.history)
    assert half[-1].loss != exact[-1].loss
    losses = [np.array([row.loss for row in rows[1:5]]) for rows in (half, exact)]
    np.testing.assert_allclose(*losses, rtol=0.1)
    assert half[0].test_loss == exact[0].test_loss  # tests are as exact as ever


# --- mistakes -------------------------------------------------------------------------


def test_a_mistake_is_one_line_and_status_1(task):
    process = task.start("--gpu", 99)
    stderr = process.communicate(timeout=60)[1]
    assert process.returncode == 1
    (line,) = stderr.splitlines()
    assert line.startswith("error: GPU 99 was asked for, but torch ")
    assert "use the CPU" in line


def test_a_missing_solver_is_named(task):
    task.solver.unlink()
    with pytest.raises(ToolError, match=r"--solver: expected a file .*solver\.prototxt"):
        task.train()


def test_missing_weights_are_named(task):
    with pytest.raises(ToolError, match=r"--weights: expected a file .*absent\.caffemodel"):
        task.train("--weights", task.folder / "absent.caffemodel")


def test_a_missing_net_is_named_with_the_solver(task):
    (task.folder / task.param.net).unlink()
    with pytest.raises(ToolError, match=r"solver\.prototxt: its net .*train_val\.prototxt"):
        task.train()


def test_a_solver_must_name_one_net(task):
    task.param.ClearField("net")
    task.write()
    with pytest.raises(ToolError, match=r"solver\.prototxt: it names no net"):
        task.train()


def test_a_missing_lmdb_is_named(task):
    task.net.layer[0].data_param.source = "nowhere"
    task.write()
    with pytest.raises(CaffeError, match="nowhere"):
        task.train()


def test_truncated_weights_are_told_so(trained, task):
    path = task.folder / "cut.caffemodel"
    path.write_bytes(trained.weights.read_bytes()[:5000])
    with pytest.raises(ToolError, match=r"cut\.caffemodel: .* is it cut off\? Fetch or train"):
        task.train("--weights", path)


@pytest.mark.parametrize("content", [b"", b"name: 'LeNet'\n", b"\x89PNG\r\n\x1a\n" * 10])
def test_what_is_no_caffemodel_is_told_so(task, content):
    path = task.folder / "other.caffemodel"
    path.write_bytes(content)
    with pytest.raises(ToolError, match=r"other\.caffemodel: expected a \.caffemodel"):
        task.train("--weights", path)


def test_weights_that_do_not_fit_are_told_where(trained, task):
    for layer in task.net.layer:
        if layer.name == "ip2":
            layer.inner_product_param.num_output = 4
    task.write()
    with pytest.raises(CaffeError) as caught:
        task.train("--weights", trained.weights)
    said = str(caught.value)
    assert "final.caffemodel: layer 'ip2', blob 0" in said
    assert "[26, 500]" in said
    assert "[4, 500]" in said
    assert "rename" in said


def test_weights_of_which_no_layer_fits_by_name_are_refused(trained, task):
    message = caffe_pb2.NetParameter.FromString(trained.weights.read_bytes())
    for layer in message.layer:
        layer.name = f"other/{layer.name}"
    path = task.folder / "other.caffemodel"
    path.write_bytes(message.SerializeToString())
    with pytest.raises(ToolError, match=r"no layer of the net .*, which has other/conv1, "):
        task.train("--weights", path)
