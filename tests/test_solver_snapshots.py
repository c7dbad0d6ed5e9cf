"""Snapshots: what they hold, going on from them, here and in BVLC's build."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from bvlc import Build
from recipes import learnable_images, write_lmdb
from small_nets import TINY
from small_solvers import LINEAR, START, make, values

import caffe
from caffe.proto import caffe_pb2
from recaffe.errors import FormatError, ShapeMismatchError, SolverError


@pytest.mark.parametrize("momentum", [0, 0.9])
def test_going_on_from_a_snapshot_is_bit_equal(tmp_path, momentum):
    settings = f"""momentum: {momentum} weight_decay: 0.01 lr_policy: "multistep" gamma: 0.5
      stepvalue: [2, 2, 5] snapshot_prefix: "{tmp_path}/s" """
    whole = make(settings)
    whole.step(3)
    weights, state = whole.snapshot()
    assert (weights.name, state.name) == ("s_iter_3.caffemodel", "s_iter_3.solverstate")
    whole.step(4)
    resumed = make(settings)
    resumed.restore(state)
    assert resumed.iteration == 3
    resumed.step(4)
    for found, expected in zip(values(resumed), values(whole), strict=True):
        np.testing.assert_array_equal(found, expected)
    for found, expected in zip(resumed.history(), whole.history(), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_what_a_state_holds(tmp_path):
    solver = make(f'momentum: 0.9 snapshot_prefix: "{tmp_path}/s"', specs="param { lr_mult: 0 }")
    solver.step(2)
    _, path = solver.snapshot()
    state = caffe_pb2.SolverState.FromString(path.read_bytes())
    fields = [field.name for field, _ in state.ListFields()]
    assert fields == ["iter", "learned_net", "history", "current_step"]
    assert state.learned_net == f"{tmp_path}/s_iter_2.caffemodel"
    assert [list(blob.shape.dim) for blob in state.history] == [[1, 2], [1]]
    assert list(state.history[0].data) == [0, 0]
    np.testing.assert_allclose(state.history[1].data, [0.2 + 0.9 * 0.2], rtol=1e-6)


def test_snapshot_diff_writes_the_diffs(tmp_path):
    for snapshot_diff in (True, False):
        solver = make(f'snapshot_prefix: "{tmp_path}/s" snapshot_diff: {snapshot_diff}')
        solver.step(1)
        weights, _ = solver.snapshot()
        saved = caffe_pb2.NetParameter.FromString(weights.read_bytes())
        assert bool(saved.layer[1].blobs[0].diff) == snapshot_diff


def test_weights_that_were_moved_with_their_state_are_found(tmp_path):
    (tmp_path / "a").mkdir()
    solver = make(f'snapshot_prefix: "{tmp_path}/a/s"')
    solver.step(1)
    _, state = solver.snapshot()
    (tmp_path / "a").rename(tmp_path / "b")
    other = make("")
    other.restore(tmp_path / "b" / state.name)
    np.testing.assert_array_equal(values(other)[0], values(solver)[0])


def test_a_history_that_does_not_fit_changes_nothing(tmp_path):
    solver = make(f'momentum: 0.9 snapshot_prefix: "{tmp_path}/s"', TINY)
    solver.step(1)
    _, state = solver.snapshot()
    other = make("momentum: 0.9")
    with pytest.raises(SolverError, match=r"s_iter_1\.solverstate: the history does not fit .*"
                       "expected 2 blobs of 3 values, found 4 of 20"):  # fmt: skip
        other.restore(state)
    assert other.iteration == 0
    np.testing.assert_array_equal(values(other)[0], START[0])


def test_weights_that_do_not_fit_change_nothing(tmp_path):
    """The state's history fits by number, but the weights it names have other shapes."""
    solver = make(f'momentum: 0.9 snapshot_prefix: "{tmp_path}/s"')
    solver.step(1)
    _, state = solver.snapshot()
    other = make("momentum: 0.9", LINEAR.replace("num_output: 1", "num_output: 1 transpose: true"))
    with pytest.raises(ShapeMismatchError):
        other.restore(state)
    assert other.iteration == 0
    assert not any(history.any() for history in other.history())


def test_restoring_from_weights_is_told(tmp_path):
    solver = make(f'snapshot_prefix: "{tmp_path}/s"')
    weights, _ = solver.snapshot()
    with pytest.raises(FormatError, match="these are weights, not a solver state"):
        solver.restore(weights)


def test_weights_of_the_solver_file(tmp_path):
    solver = make(f'snapshot_prefix: "{tmp_path}/s"')
    solver.step(1)
    weights, _ = solver.snapshot()
    np.testing.assert_array_equal(values(make(f'weights: "{weights}"'))[0], values(solver)[0])


# -- with BVLC's build --------------------------------------------------------------------

NET = """
layer { name: "data" type: "Data" top: "data" top: "label" transform_param { scale: 0.00390625 }
  data_param { source: "train" backend: LMDB batch_size: 12 } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  param { lr_mult: 1 decay_mult: 1 } param { lr_mult: 2 decay_mult: 0 } convolution_param {
  num_output: 4 kernel_size: 3 stride: 2 weight_filler { type: "xavier" } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "ip" type: "InnerProduct" bottom: "conv" top: "ip"
  inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""
SETTINGS = """
net: "net.prototxt" base_lr: 0.05 momentum: 0.9 weight_decay: 0.01 lr_policy: "multistep"
gamma: 0.5 stepvalue: 2 stepvalue: 4 stepvalue: 4 stepvalue: 6 clip_gradients: 2 iter_size: 2
average_loss: 3 display: 1 max_iter: 8 snapshot_prefix: "s" random_seed: 7
snapshot_after_train: false
"""
GO_ON = """
import json, sys
import caffe
state, prefix = sys.argv[1:]
solver = caffe.get_solver("solver.prototxt")
if state != "-":
    solver.restore(state)
losses = []
for _ in range(5):
    if state == "-" and solver.iter == 4:
        solver.snapshot()
    solver.step(1)
    losses.append(float(solver.net.blobs["loss"].data))
solver.net.save(prefix + ".caffemodel")
json.dump({"caffe": caffe.__file__, "losses": losses, "iter": solver.iter}, sys.stdout)
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a solver whose one batch is its whole LMDB, so that position is nothing."""
    (tmp_path / "net.prototxt").write_text(NET)
    (tmp_path / "solver.prototxt").write_text(SETTINGS)
    write_lmdb(tmp_path / "train", *learnable_images(12, 3, (1, 9, 9)))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def go_on_here(state: str) -> list[float]:
    solver = caffe.get_solver("solver.prototxt")
    solver.restore(state)
    losses = []
    for _ in range(5):
        solver.step(1)
        losses.append(float(solver.net.blobs["loss"].data))
    return losses


def shown(lines: list[str]) -> list[tuple[int, str, float]]:
    """Iteration, name and value of each logged loss and learning rate."""
    pattern = re.compile(r"Iteration (\d+)(?: \([^)]*\))?, (loss|lr) = (\S+)")
    found = [pattern.search(line) for line in lines]
    return [(int(m[1]), m[2], float(m[3])) for m in found if m]


def inputs_of(folder: Path, *more: str):
    return {n: folder / n for n in ("net.prototxt", "solver.prototxt", "train", *more)}


@pytest.mark.oracle
def test_bvlc_goes_on_from_our_snapshot_as_we_do(bvlc: Build, here: Path) -> None:
    solver = caffe.get_solver("solver.prototxt")
    solver.step(5)
    solver.snapshot()
    names = ("s_iter_5.caffemodel", "s_iter_5.solverstate")
    theirs = bvlc.python(GO_ON, names[1], "theirs", files=inputs_of(here, *names)).json()
    assert theirs["iter"] == 10
    ours = go_on_here(names[1])
    np.testing.assert_allclose(ours, theirs["losses"], rtol=1e-5)
    # it learns, and fast enough for a wrong history or rate to show
    assert ours[-1] < 0.98 * ours[0]


@pytest.mark.oracle
def test_we_go_on_from_bvlcs_snapshot_as_bvlc_does(bvlc: Build, here: Path) -> None:
    names = ["s_iter_4.caffemodel", "s_iter_4.solverstate"]
    first = bvlc.python(GO_ON, "-", "theirs", files=inputs_of(here), fetch=names)
    for name in names:
        (here / name).write_bytes(first.files[name])
    ours = go_on_here(names[1])
    # the first of these was made by the process that took the snapshot
    assert ours[0] == pytest.approx(first.json()["losses"][-1], rel=1e-5)
    again = bvlc.python(GO_ON, names[1], "theirs", files=inputs_of(here, *names)).json()
    np.testing.assert_allclose(ours, again["losses"], rtol=1e-5)


@pytest.mark.oracle
@pytest.mark.parametrize("count", [1, 4, 5, 6])
def test_solver_states_have_bvlcs_counter(bvlc: Build, here: Path, count: int) -> None:
    """current_step lags: it is as of the update before."""
    question = """
import sys
import caffe
solver = caffe.get_solver("solver.prototxt")
solver.step(int(sys.argv[1]))
solver.snapshot()
"""
    name = f"s_iter_{count}.solverstate"
    theirs = bvlc.python(question, str(count), files=inputs_of(here), fetch=[name])
    solver = caffe.get_solver("solver.prototxt")
    solver.step(count)
    _, path = solver.snapshot()
    found, expected = (
        caffe_pb2.SolverState.FromString(data) for data in (path.read_bytes(), theirs.files[name])
    )
    assert (found.iter, found.current_step) == (expected.iter, expected.current_step)
    assert found.learned_net == expected.learned_net
    shapes = [[list(blob.shape.dim) for blob in state.history] for state in (found, expected)]
    assert shapes[0] == shapes[1]


@pytest.mark.oracle
def test_displayed_losses_and_rates_are_bvlcs(bvlc: Build, here: Path, caplog) -> None:
    """solve() from the same weights: every line that shows a loss or a rate."""
    solver = caffe.get_solver("solver.prototxt")
    solver.net.save("start.caffemodel")
    question = """
import caffe
solver = caffe.get_solver("solver.prototxt")
solver.net.copy_from("start.caffemodel")
solver.solve()
"""
    done = bvlc.python(question, files=inputs_of(here, "start.caffemodel"),
                       environment={"GLOG_minloglevel": "0"})  # fmt: skip
    caplog.set_level("INFO")
    solver.solve()
    ours = shown([record.getMessage() for record in caplog.records])
    theirs = shown(done.stderr.splitlines())
    assert len(ours) == len(theirs) == 17
    assert [line[:2] for line in ours] == [line[:2] for line in theirs]
    np.testing.assert_allclose([x[2] for x in ours], [x[2] for x in theirs], rtol=2e-4)
