"""Callbacks and helpers that scripts otherwise write anew: sentinel, rates, stages, weights."""

import io
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from small_training import BODY, INPUTS, LABEL, complaint, entry, fill, solver, weights, write

import caffe
from caffetools import prototxt
from caffetools.solvers import (
    MonitoringSolver,
    ProgressCallback,
    RateRange,
    SentinelCallback,
    TensorBoardCallback,
    class_weights,
    rate_range,
    solve_in_stages,
    with_infogain_loss,
    write_head_stage,
    write_infogain_matrix,
)

DUMMY = """
layer { name: "rows" type: "DummyData" top: "data" top: "label" dummy_data_param {
  shape { dim: 8 dim: 6 } shape { dim: 8 }
  data_filler { type: "gaussian" std: 1 } data_filler { type: "uniform" max: 3.99 } } }
"""


def monitored(made, *entries):
    monitor = MonitoringSolver(made)
    monitor.register_callback(list(entries))
    return monitor


# --- the sentinel ---------------------------------------------------------------------


def watched(made):
    return monitored(made, entry(SentinelCallback(), "check"))


def test_a_sound_training_is_let_pass():
    assert watched(solver()).solve(3) is None


def test_the_first_blob_that_is_not_finite_is_named():
    made = solver()
    made.net.blobs["data"].data[2, 3] = np.nan
    said = complaint(watched(made).solve, 3)
    assert said.startswith("iteration 1: blob 'data' of layer 'in' is the first that is not finite")
    assert "NaN 1 times and infinite 0 times among 48 values. Look for NaN" in said
    made = solver()
    made.net.params["score"][1].data[1] = np.inf
    said = complaint(watched(made).solve, 3)
    assert "blob 'score' of layer 'score'" in said
    assert "infinite 8 times among 32 values" in said
    assert "divide base_lr" in said


def test_an_update_that_goes_too_far_is_seen_at_once():
    made = solver(body=BODY.replace('bottom: "ip1" top: "score"', SCALED))
    made.param.base_lr = 3e38
    said = complaint(watched(made).solve, 3)
    assert said.startswith("iteration 1: all blobs are finite, but the last update made weight")
    assert made.iter == 1


SCALED = 'bottom: "ip1" top: "score" param { lr_mult: 100 }'


def test_the_loss_of_a_hopeless_net_is_told():
    made = solver()
    fill(made.net, label=np.zeros(8))
    made.net.params["score"][1].data[1] = 1e4
    said = complaint(watched(made).solve, 3)
    assert said.startswith("iteration 1: blob 'loss' of layer 'loss' is 87.3365. The net gives")


# --- the range of rates ---------------------------------------------------------------


def test_rates_are_tried_without_touching_what_is_there():
    made = solver("snapshot: 2")
    write("net.prototxt", DUMMY + BODY)
    before = weights(made.net)
    usual, tempfile.tempdir = tempfile.tempdir, "."
    try:
        found = rate_range("solver.prototxt", made.net, lowest=1e-3, highest=1e3, steps=13)
    finally:
        tempfile.tempdir = usual
    np.testing.assert_allclose(found.rates[:7], 10.0 ** np.arange(-3, 0.1, 0.5), rtol=1e-4)
    assert 7 <= len(found.losses) == len(found.rates) < 13, found.losses
    fill(made.net)
    assert made.iter == 0
    for name, blobs in weights(made.net).items():
        for mine, theirs in zip(blobs, before[name]):
            np.testing.assert_array_equal(mine, theirs)
    assert sorted(path.name for path in Path().iterdir()) == ["net.prototxt", "solver.prototxt"]


def test_rates_are_tried_from_the_weights_given():
    made = solver()
    write("net.prototxt", DUMMY.replace('"uniform" max: 3.99', '"constant" value: 1') + BODY)
    made.net.params["score"][1].data[1] = 50
    assert rate_range("solver.prototxt", made.net, steps=3).losses[0] < 1e-3
    made.net.save("start.caffemodel")
    assert rate_range("solver.prototxt", "start.caffemodel", steps=3).losses[0] < 1e-3
    assert rate_range("solver.prototxt", steps=3).losses[0] > 0.1
    assert "found lowest=2, highest=1.0" in complaint(rate_range, "solver.prototxt", lowest=2)


def test_the_rate_suggested_is_where_the_loss_falls_fastest():
    rates = [10.0**power for power in range(10)]
    losses = [5, 5, 5, 5, 5, 1, 1, 1, 1, 9]
    found = RateRange(rates, losses)
    np.testing.assert_allclose(found.smoothed[[0, 2, 4, 9]], [5, 5, 17 / 5, 11 / 3])
    assert found.suggestion in rates[2:7]
    falling = RateRange(rates[:5], [9, 8, 7, 3, 2])
    assert falling.suggestion == rates[int(np.argmin(np.diff(falling.smoothed)))]
    assert RateRange(rates[:3], [3, 4, 5]).suggestion == 1


# --- stages ---------------------------------------------------------------------------


def test_the_head_learns_first_then_everything():
    whole = solver("weight_decay: 0.1")
    head = caffe.get_solver(
        str(write_head_stage("solver.prototxt", ["score"], Path("stages"), base_lr=0.25))
    )
    assert abs(head.param.base_lr - 0.25) < 1e-7
    fill(head.net)
    start = weights(head.net)
    calls = []
    note = {"callback": lambda *call: calls.append(call[1]), "object": None, "interval": 1}
    monitor = solve_in_stages([(head, 3), (whole, 0)], [note])
    assert monitor.solver is whole
    assert calls == [0]
    for net in (head.net, whole.net):
        for mine, theirs in zip(weights(net)["ip1"], start["ip1"]):
            np.testing.assert_array_equal(mine, theirs)
        assert (weights(net)["score"][0] != start["score"][0]).any()
    solve_in_stages([(whole, 2)])
    assert (weights(whole.net)["ip1"][0] != start["ip1"][0]).any()
    head.snapshot()
    assert Path("stages/head_iter_3.solverstate").exists()


def test_heads_that_are_none_are_refused():
    solver()
    for heads, words in [
        (["scores"], "did you mean 'score'?"),
        (["relu"], "expected 'relu' among the layers that learn, found ip1, score"),
        (["ip1", "score"], "found ip1, score of ip1, score"),
        ([], "found none of ip1, score"),
    ]:
        assert words in complaint(write_head_stage, "solver.prototxt", heads, Path("stages"))
    assert "at least one solver" in complaint(solve_in_stages, [])


# --- weights of classes ---------------------------------------------------------------


def test_weights_follow_from_counts():
    np.testing.assert_allclose(class_weights([1, 1, 2, 4]), [2, 2, 1, 0.5])
    for counts in ([3, 0], [], [[1, 2]]):
        assert "a count of at least 1 for every class" in complaint(class_weights, counts)


def test_the_loss_weighs_classes():
    weighing = class_weights([1, 3, 2, 2])
    write_infogain_matrix("infogain.binaryproto", weighing)
    net = prototxt.read_net(Path(write("plain.prototxt", INPUTS + BODY)))
    prototxt.write(Path("net.prototxt"), with_infogain_loss(net, "infogain.binaryproto"))
    made = caffe.Net("net.prototxt", caffe.TRAIN)
    fill(made)
    made.forward()
    scores = made.blobs["score"].data.astype("d")
    logs = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    labels = LABEL.astype(int)
    expected = -(weighing[labels] * logs[np.arange(8), labels]).mean()
    np.testing.assert_allclose(made.blobs["loss"].data, expected, rtol=1e-5)
    made = caffe.Net("net.prototxt", caffe.TEST)
    types = [layer.type for layer in made.layers]
    assert "SoftmaxWithLoss" in types
    assert "InfogainLoss" not in types


def test_a_loss_of_one_phase_or_with_rules_stays_in_it():
    for rule, in_train, in_test in [
        ("include { phase: TRAIN }", "InfogainLoss", None),
        ("exclude { phase: TEST }", "InfogainLoss", None),
        ('exclude { stage: "deploy" }', "InfogainLoss", "SoftmaxWithLoss"),
        ("include { min_level: 0 }", "InfogainLoss", "SoftmaxWithLoss"),
        ("include { phase: TRAIN } include { phase: TEST }", "InfogainLoss", "SoftmaxWithLoss"),
    ]:
        body = BODY.replace('bottom: "label" top: "loss"', 'bottom: "label" top: "loss" ' + rule)
        net = prototxt.read_net(Path(write("plain.prototxt", INPUTS + body)))
        patched = with_infogain_loss(net, "h")
        for phase, expected in ((prototxt.TRAIN, in_train), (prototxt.TEST, in_test)):
            found = [it.type for it in prototxt.phase_view(patched, phase) if it.name == "loss"]
            assert found == ([expected] if expected else [])
        for layer in patched.layer:
            assert "stage" not in rule or layer.name != "loss" or "deploy" in str(layer)


def test_losses_that_cannot_be_weighed_are_told():
    net = prototxt.read_net(Path(write("plain.prototxt", INPUTS)))
    assert "found the layers in (Input)" in complaint(with_infogain_loss, net, "h")
    body = BODY.replace('top: "loss" }', 'top: "loss" loss_param { normalize: true } }')
    net = prototxt.read_net(Path(write("plain.prototxt", INPUTS + body)))
    assert "'loss': loss_param has normalize" in complaint(with_infogain_loss, net, "h")


# --- progress -------------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_the_bar_shows_images_a_second_and_the_time_left():
    progress, before = ProgressCallback(4), sys.stderr
    sys.stderr = Terminal()
    try:
        monitor = monitored(solver(), entry(progress, "show_progress"))
        monitor.solve(3)
        shown = sys.stderr.getvalue().split("\r")[-1]
    finally:
        sys.stderr = before
    assert shown.startswith("iteration 3:  75%")
    assert "24/32 [" in shown
    assert " images/s" in shown
    assert progress.bar is None


# --- TensorBoard ----------------------------------------------------------------------


class Writer:
    made = ()

    def __init__(self, folder):
        self.lines = [folder]
        Writer.made += (self,)

    def add_scalar(self, name, value, step):
        self.lines.append((name, value, step))

    def close(self):
        self.lines.append("closed")


@contextmanager
def installed(**writers):
    """As if of the packages for TensorBoard only that of ``writers`` were there."""
    names = ("tensorboardX", "tensorboard", "tensorboard.summary")
    before = {name: sys.modules[name] for name in names if name in sys.modules}
    sys.modules.update(dict.fromkeys(names))
    if "SummaryWriter" in writers:
        sys.modules["tensorboardX"] = SimpleNamespace(**writers)
    elif writers:
        sys.modules["tensorboard"] = SimpleNamespace()
        sys.modules["tensorboard.summary"] = SimpleNamespace(**writers)
    try:
        yield
    finally:
        for name in names:
            del sys.modules[name]
        sys.modules.update(before)


def test_scalars_are_written_by_either_package():
    for name in ("SummaryWriter", "Writer"):
        Writer.made = ()
        with installed(**{name: Writer}):
            board = TensorBoardCallback("events", {"twice": lambda iteration, _: 2 * iteration})
        monitored(solver(), entry(board, "write_scalars", 2)).solve(4)
        [writer] = Writer.made
        assert writer.lines == ["events", ("twice", 4.0, 2), ("twice", 8.0, 4), "closed"]


def test_without_a_package_tensorboard_says_which():
    with installed():
        assert "`pip install tensorboardX`" in complaint(TensorBoardCallback, "events")
