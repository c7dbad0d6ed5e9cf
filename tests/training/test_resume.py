"""How a training goes on: after a stop, at another length, and where it starts afresh instead."""

from __future__ import annotations

import fcntl
import itertools
import os
import re
import shutil
import signal
import subprocess
import time

import pytest
from lenet_task import Task

import caffe
from caffetools import train
from caffetools.history import read_rows

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


@pytest.mark.parametrize("option", [("--precision", "tf32"), ("--deterministic",)])
def test_another_way_to_compute_starts_afresh(task, caplog, option):
    task.train()
    caplog.clear()
    try:
        task.train(*option)
        assert "starting afresh" in caplog.text
        assert "going on" not in caplog.text
    finally:
        caffe.set_precision("float32")
        caffe.set_deterministic(False)


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
