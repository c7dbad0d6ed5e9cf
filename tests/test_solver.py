"""Solvers: updates by hand, the order of events, snapshots, and mistakes in settings."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import numpy as np
import pytest
from google.protobuf import text_format
from small_nets import TINY, inputs
from small_solvers import LINEAR, START, X, make, trajectory, values

from caffe.proto import caffe_pb2
from recaffe.context import context
from recaffe.errors import CaffeError, SolverError
from recaffe.net import Net
from recaffe.solver import Action
from recaffe.solver.sgd import SGDSolver


@pytest.fixture(autouse=True)
def _seeded() -> None:
    context.seed(1)


SPECS = "param { lr_mult: 1 decay_mult: 1 } param { lr_mult: 2 decay_mult: 0 }"
NORM = float(np.sqrt(4**2 + 4**2 + 2**2))
UPDATES = {
    # settings, specs, arguments of the trajectory
    "plain": ("", "", {}),
    "momentum": ("momentum: 0.9", "", {"momentum": 0.9}),
    "decay": ("weight_decay: 0.5", "", {"decay": 0.5}),
    "decay, momentum": ("weight_decay: 0.5 momentum: 0.5", "", {"decay": 0.5, "momentum": 0.5}),
    "L1": (
        "weight_decay: 0.5 momentum: 0.5 regularization_type: 'L1'", "",
        {"decay": 0.5, "momentum": 0.5, "l1": True},
    ),
    "L1, no momentum": (
        "weight_decay: 0.5 regularization_type: 'L1'", "", {"decay": 0.5, "l1": True},
    ),
    "lr_mult, decay_mult": (
        "weight_decay: 0.5 momentum: 0.5", SPECS,
        {"decay": 0.5, "momentum": 0.5, "lr": (1, 2), "dm": (1, 0)},
    ),
    "lr_mult 0": (
        "momentum: 0.5 weight_decay: 0.5", "param { lr_mult: 0 }",
        {"momentum": 0.5, "decay": 0.5, "lr": (0, 1)},
    ),
    # clipping comes before the decay
    "clipped": (
        "clip_gradients: 3 momentum: 0.5 weight_decay: 0.5", "",
        {"momentum": 0.5, "decay": 0.5, "scale": 3 / NORM},
    ),
    "clipped, no momentum": ("clip_gradients: 3", "", {"scale": 3 / NORM}),
    "not clipped": ("clip_gradients: 7", "", {}),
    # gradients of both passes add up, and are halved
    "iter_size": ("iter_size: 2 momentum: 0.5", "", {"momentum": 0.5}),
    # the sum of both passes is clipped, before it is halved
    "iter_size, clipped": ("iter_size: 2 clip_gradients: 3", "", {"scale": 1.5 / NORM}),
    "falling rate": (
        "lr_policy: 'step' gamma: 0.5 stepsize: 2 momentum: 0.9", "",
        {"momentum": 0.9, "rate": lambda step: 0.1 * 0.5 ** (step // 2)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", UPDATES)
def test_updates_follow_the_formula(name):
    settings, specs, arguments = UPDATES[name]
    arguments = {"rate": lambda step: 0.1} | arguments
    solver = make(settings, specs=specs)
    expected, update = trajectory(5, **arguments)
    for step in range(5):
        solver.step(1)
        for found, wanted in zip(values(solver), expected[step], strict=True):
            np.testing.assert_allclose(found, wanted, rtol=2e-6, atol=1e-7)
    for blob, history, wanted in zip(solver.net.learnable, solver.history(), update, strict=True):
        np.testing.assert_allclose(history, wanted, rtol=2e-6)
        np.testing.assert_array_equal(blob.diff, history)


def test_frozen_parameters_take_no_part_in_the_norm():
    solver = make("clip_gradients: 1", specs="param { lr_mult: 0 }")
    solver.step(1)
    np.testing.assert_array_equal(solver.net.learnable[0].data, START[0])
    # the bias's gradient 2 alone is clipped to 1
    np.testing.assert_allclose(solver.net.learnable[1].data, [-2.1], rtol=1e-6)


def test_writing_to_the_update_does_not_change_the_history():
    solver, plain = make("momentum: 0.9"), make("momentum: 0.9")
    for made in (solver, plain):
        made.step(1)
    for blob in solver.net.learnable:
        blob.diff[...] = 100
    for made in (solver, plain):
        made.step(2)
    for found, expected in zip(values(solver), values(plain), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_weights_that_a_view_shows_follow_every_update():
    solver = make("momentum: 0.9")
    view = solver.net.learnable[0].data
    solver.step(2)
    np.testing.assert_allclose(view, trajectory(2, lambda step: 0.1, 0.9)[0][1][0], rtol=1e-6)
    view[...] = 7
    solver.step(1)
    assert (view != 7).all()


# -- the order of events ------------------------------------------------------------------


class Spied(Net):
    """Writes down when it runs: f and b for training, t for a test."""

    log: list[str]

    def forward_layers(self, start, end, record=True):
        self.log.append("t" if self.phase else "f")
        super().forward_layers(start, end, record)

    def forward_backward(self, keep=True):
        log, self.log = self.log, []
        loss = super().forward_backward(keep)
        self.log = log
        log.append("fb")
        return loss


def events(settings: str, act, folder: Path) -> str:
    log: list[str] = []

    def make_net(*arguments, **options):
        net = Spied(*arguments, **options)
        net.log = log
        return net

    param = caffe_pb2.SolverParameter(
        base_lr=0.1, lr_policy="fixed", snapshot_prefix=str(folder / "s")
    )
    text_format.Merge(settings, param)
    text_format.Merge(TINY, param.net_param)
    solver = SGDSolver(param, make_net)
    solver_snapshot = solver.snapshot

    def snapshot():
        log.append("s")
        return solver_snapshot()

    solver.snapshot = snapshot
    act(solver)
    return "".join(log)


def step(count):
    return lambda solver: solver.step(count)


TESTS = "test_iter: 2 test_interval: 2 max_iter: 4 "
# BVLC's build gives the same: test_bvlc_solver_semantics
EVENTS = [
    (TESTS, step(1), "ttfb"),
    (TESTS, step(2), "ttfbfb"),
    (TESTS, step(3), "ttfbfbttfb"),
    (TESTS + "test_initialization: false", step(3), "fbfbttfb"),
    (TESTS + "snapshot_after_train: false", SGDSolver.solve, "ttfbfbttfbfbtt"),
    (TESTS, SGDSolver.solve, "ttfbfbttfbfbstt"),
    (TESTS + "display: 4", SGDSolver.solve, "ttfbfbttfbfbsftt"),
    (TESTS + "iter_size: 2", step(1), "ttfbfb"),
    (TESTS + "snapshot: 3", SGDSolver.solve, "ttfbfbttfbsfbstt"),
    (TESTS + "snapshot: 2", SGDSolver.solve, "ttfbfbsttfbfbstt"),
]


@pytest.mark.parametrize(("settings", "act", "expected"), EVENTS)
def test_events_come_in_bvlcs_order(settings, act, expected, tmp_path):
    assert events(settings, act, tmp_path) == expected


def test_test_nets_take_the_weights_when_they_are_tested():
    solver = make("test_iter: 1 test_interval: 2 max_iter: 5", TINY)
    trained, tested = (n.params["ip"][0] for n in (solver.net, solver.test_nets[0]))
    trained.data[...] = 3
    assert (tested.data != trained.data).any()
    solver.step(1)
    assert np.shares_memory(tested.data, trained.data)


def test_each_test_gives_the_mean_of_its_outputs():
    net = inputs(x=(2, 3)) + 'layer { name: "r" type: "ReLU" bottom: "x" top: "y" }'
    solver = make("test_iter: 4 test_interval: 1", net.replace("dim: 3", "dim: 2"))
    data = solver.test_nets[0].blobs["x"].data
    data[...] = X
    (scores,) = solver.test_all()
    np.testing.assert_allclose(scores["y"], np.maximum(X, 0))


def test_smoothed_loss_is_the_mean_of_the_last_within_a_call_of_step(caplog):
    """BVLC's build gives the same: test_solver_logs."""
    caplog.set_level(logging.INFO)
    weights = [START, *trajectory(6, lambda step: 0.1)[0]]
    losses = [float((X @ w[0].T + w[1]).sum()) for w in weights]
    solver = make("average_loss: 3 display: 1")
    assert solver.smoothed_loss == 0
    solver.step(1)
    solver.step(5)
    shown = [float(m[1]) for m in map(re.compile(r", loss = (\S+)").search, caplog.messages) if m]
    means = [losses[0], *(np.mean(losses[max(1, at - 2) : at + 1]) for at in range(1, 6))]
    np.testing.assert_allclose(shown, means, rtol=1e-5)
    assert solver.smoothed_loss == pytest.approx(means[-1], rel=1e-6)


# -- nets of a solver, and mistakes -------------------------------------------------------


def test_states_choose_layers(tmp_path):
    stages = "".join(
        f'layer {{ name: "{stage}" type: "ReLU" bottom: "x" top: "{stage}" '
        f'include {{ stage: "{stage}" }} }}'
        for stage in ("one", "two", "train")
    )
    path = tmp_path / "net.prototxt"
    path.write_text(LINEAR.replace("SPECS", "") + stages)
    solver = make(
        f'net: "{path}" train_state {{ stage: "train" }} test_interval: 1 test_iter: 1 '
        'test_iter: 1 test_state { stage: "one" } test_state { stage: "two" }'
    )
    nets = [solver.net, *solver.test_nets]
    assert [net.layer_names[-1] for net in nets] == ["train", "one", "two"]
    assert [net.phase for net in nets] == [0, 1, 1]


def test_the_nets_own_state_counts_where_the_solver_says_nothing_else():
    levels = "".join(
        f'layer {{ name: "{level}" type: "ReLU" bottom: "x" top: "{level}" '
        f"include {{ min_level: {level} max_level: {level} }} }}"
        for level in (0, 1, 2)
    )
    net = LINEAR + levels + "state { level: 2 }"
    assert make("", net).net.layer_names[-1] == "2"
    for level in (0, 1):
        solver = make(f"train_state {{ level: {level} }}", net)
        assert solver.net.layer_names[-1] == str(level)


def test_test_nets_of_their_own_come_before_the_shared_one(tmp_path):
    path = tmp_path / "own.prototxt"
    path.write_text('name: "own"' + LINEAR.replace("SPECS", ""))
    solver = make(f'test_net: "{path}" test_interval: 1 test_iter: 1 test_iter: 2')
    assert [net.name for net in solver.test_nets] == ["own", ""]


MISTAKES = [
    ('net: "a" train_net: "b"', "once, by one of .*; found train_net, net"),
    ("test_iter: 1", "test_iter needs a test_interval of at least 1"),
    ('test_interval: 1 test_iter: 1 test_net: "a" test_net: "b"', "1 test_iter for 2 test net"),
    ("test_interval: 1 test_iter: 1 test_state {} test_state {}", "2 test_state for 1 test net"),
    ('lr_policy: "stp"', "lr_policy 'stp' is not known; known: .*step"),
    ('lr_policy: "poly"', "max_iter"),
    (
        'regularization_type: "L3" weight_decay: 0.1',
        "regularization_type 'L3' is not known; known: L1, L2",
    ),
    ("iter_size: 0", "iter_size is 0; it must be at least 1"),
    ("average_loss: 0", "average_loss is 0; it must be at least 1"),
    ('net: "absent.prototxt"', r"absent\.prototxt: no such file"),
    ('weights: "absent.caffemodel"', r"absent\.caffemodel: no such file"),
]


@pytest.mark.parametrize(("settings", "says"), MISTAKES)
def test_mistakes_in_settings_are_told(settings, says):
    with pytest.raises(CaffeError, match=says):
        make(settings)


def test_a_solver_without_a_net_is_told():
    param = caffe_pb2.SolverParameter(base_lr=0.1, lr_policy="fixed")
    with pytest.raises(SolverError, match=r"must name its train net once.*; found none"):
        SGDSolver(param)


def test_a_train_net_with_test_iter_but_no_test_net_is_told():
    param = caffe_pb2.SolverParameter(base_lr=0.1, lr_policy="fixed", test_iter=[1])
    text_format.Merge(TINY, param.train_net_param)
    with pytest.raises(SolverError, match="1 test_iter for 0 test net"):
        SGDSolver(param)


def test_an_unknown_regularization_matters_only_where_something_decays():
    settings = 'regularization_type: "L3" weight_decay: 0.1'
    undecayed = "param { decay_mult: 0 } param { decay_mult: 0 }"
    make('regularization_type: "L3"').step(1)
    make(settings, specs=undecayed).step(1)


def deep(settings: str = "") -> SGDSolver:
    """A solver of a net with blobs between data and loss."""
    context.seed(1)
    solver = make(settings, net=TINY)
    random = np.random.default_rng(1)
    solver.net.blobs["data"].data[...] = random.normal(size=(4, 3))
    solver.net.blobs["label"].data[...] = [0, 1, 1, 0]
    return solver


def test_after_a_step_every_blob_is_that_of_the_last_iteration():
    """Also where the iterations before kept nothing."""
    one_by_one, at_once, unseen = deep(), deep(), deep()
    for _ in range(3):
        one_by_one.step(1)
    at_once.step(3)
    unseen.step(3, keep_last=False)
    assert one_by_one.net.blobs["ip"].diff.any()
    for name, blob in one_by_one.net.blobs.items():
        np.testing.assert_array_equal(at_once.net.blobs[name].data, blob.data, err_msg=name)
        np.testing.assert_array_equal(at_once.net.blobs[name].diff, blob.diff, err_msg=name)
    for ours, other, expected in zip(
        values(unseen), values(at_once), values(one_by_one), strict=True
    ):
        np.testing.assert_allclose(ours, expected, rtol=1e-6)
        np.testing.assert_allclose(other, expected, rtol=1e-6)
    loss = one_by_one.net.blobs["loss"].data
    np.testing.assert_allclose(unseen.net.blobs["loss"].data, loss, rtol=1e-6)
    assert not unseen.net.blobs["ip"].data.any()


def test_iter_size_keeps_the_last_of_its_passes():
    one, other = deep("iter_size: 2"), deep("iter_size: 2")
    one.step(1)
    other.step(1, keep_last=False)
    assert one.net.blobs["ip"].data.any()
    assert not other.net.blobs["ip"].data.any()
    for ours, expected in zip(values(other), values(one), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-6)


TESTED = """
max_iter: 5 test_iter: 3 test_iter: 3 test_interval: 2 test_state { } test_state { stage: "b" }
snapshot_prefix: "s"
"""


def test_an_action_reaches_a_test(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Asked before each of a test's iterations: a snapshot at once, a stop for good."""
    monkeypatch.chdir(tmp_path)
    solver = make(TESTED)
    answers = [Action.SNAPSHOT, Action.NONE, Action.STOP]
    solver.action = lambda: answers.pop(0) if answers else Action.NONE
    caplog.set_level(logging.INFO)
    solver.solve()
    assert solver.iteration == 0
    for found, start in zip(values(solver), START, strict=True):
        np.testing.assert_array_equal(found, start)
    events = [re.sub(".*(Testing|solver state|interrupted|stopped early).*", r"\1", message)
              for message in caplog.messages]  # fmt: skip
    after = events[events.index("Testing") :]
    assert [event for event in after if " to " not in event] == [
        "Testing", "solver state", "interrupted", "solver state", "stopped early",
    ]  # fmt: skip
    # Whoever goes on trains and tests both nets.
    assert len(solver.test_all()) == 2
    solver.solve()
    assert solver.iteration == 5
