"""Training by command: its history, its results, and what its mistakes are told."""

from __future__ import annotations

import contextlib
import weakref
from contextlib import nullcontext

import numpy as np
import pytest
from lenet_task import Task

from caffe.proto import caffe_pb2
from caffetools import train
from caffetools.cli import ToolError
from caffetools.history import read_history, read_rows
from caffetools.magnitudes import interval, read_magnitudes
from caffetools.weights import read_weights
from recaffe.context import context
from recaffe.errors import CaffeError
from recaffe.solver.solver import Solver

# --- one training ---------------------------------------------------------------------


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
