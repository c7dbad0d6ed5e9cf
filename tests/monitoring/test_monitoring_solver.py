"""The solver that calls back: when, with what, and that it changes no number."""

from pathlib import Path

import numpy as np
from small_training import BODY, assert_same, complaint, entry, solver, weights

from caffetools.solvers import (
    BestSnapshotCallback,
    EarlyStoppingCallback,
    MonitoringSolver,
    PlotErrorCallback,
    PlotGradientCallback,
    PlotLossCallback,
    ReportErrorCallback,
    ReportGradientCallback,
    ReportLossCallback,
    SnapshotCallback,
    StopSolving,
    count_errors,
    create_snapshot,
    gradient_magnitudes,
    loss,
)


class Seen(list):
    """Notes its calls; stops the training at an iteration."""

    stops_at = None

    def attach(self, solver):
        self.append("attach")

    def look(self, iteration, solver):
        assert solver.iter == iteration
        self.append(iteration)
        if iteration == self.stops_at:
            raise StopSolving("enough")

    def finish(self):
        self.append("finish")


def monitored(made, *entries):
    monitor = MonitoringSolver(made)
    monitor.register_callback(list(entries))
    return monitor


def test_callbacks_are_called_at_their_intervals_from_the_start_to_the_end():
    seen, rare = Seen(), Seen()
    monitor = monitored(solver(), entry(seen, "look"), entry(rare, "look", 3))
    assert monitor.solve(4) is None
    assert seen == ["attach", 0, 1, 2, 3, 4, "finish"]
    assert rare == ["attach", 0, 3, "finish"]
    assert monitor.solve(1, step=2) is None
    assert seen[7:] == ["attach", 6, "finish"]
    assert rare[4:] == ["attach", 6, "finish"]


def test_a_callback_stops_the_training_and_the_others_see_the_iteration():
    stopping, seen = Seen(), Seen()
    stopping.stops_at = 2
    monitor = monitored(solver(), entry(stopping, "look"), entry(seen, "look"))
    assert monitor.solve(5) == "enough"
    assert monitor.stopped == "enough"
    assert monitor.solver.iter == 2
    assert seen == ["attach", 0, 1, 2, "finish"]
    assert monitor.solve(1) is None
    assert monitor.solver.iter == 3


def test_iterations_are_counted_from_the_solvers_own_or_from_start():
    made = solver()
    made.step(3)
    assert MonitoringSolver(made).iteration == 3
    assert MonitoringSolver(made, start=10).iteration == 10


def test_a_callback_is_registered_once():
    seen = Seen()
    callbacks = [entry(seen, "look")]
    monitor = monitored(solver(), *callbacks)
    monitor.register_callback(callbacks)
    monitor.solve(0)
    assert seen == ["attach", 0, "finish"]


def test_callbacks_of_another_form_are_refused():
    monitor, seen = MonitoringSolver(solver()), Seen()
    right = entry(seen, "look")
    for wrong, words in [
        ({"callback": Seen.look}, "expected a dict with callback, object and interval"),
        (dict(right, callback=3), "expected a function as callback, found 3"),
        (dict(right, interval=0), "interval of at least 1 iteration, found 0"),
        (dict(right, interval=2.0), "interval of at least 1 iteration, found 2.0"),
        (dict(right, often=3), "found callback, object, interval, often"),
    ]:
        said = complaint(monitor.register_callback, [right, wrong])
        assert said.startswith("callback 1: ")
        assert words in said
    assert "found one" in complaint(monitor.register_callback, right)


def test_training_with_all_callbacks_gives_the_very_numbers_without():
    alone = solver()
    alone.step(12)
    made = solver()
    errors = PlotErrorCallback(count_errors, 8, 8, "snap", "error.svg", patience=99)
    plain = ReportErrorCallback(count_errors, 8, 8)
    monitored(
        made,
        entry(PlotLossCallback(4, "loss.png"), "report_loss"),
        entry(ReportLossCallback(4), "report_loss"),
        entry(errors, "report_error", 2),
        entry(errors, "stop_early", 2),
        entry(plain, "report_error", 3),
        entry(PlotGradientCallback(4, "gradient.png"), "report_gradient"),
        entry(ReportGradientCallback(4), "report_gradient"),
        entry(EarlyStoppingCallback(errors.test_error, 99), "stop_early", 4),
        entry(BestSnapshotCallback(errors.test_error, "snap"), "keep_best", 4),
        entry(SnapshotCallback("snap", keep=1), "write_snapshot", 5),
    ).solve(12)
    assert_same(weights(made.net), weights(alone.net))
    for name in ("loss.png", "gradient.png"):
        assert Path(name).read_bytes().startswith(b"\x89PNG")
    assert "<svg" in Path("error.svg").read_text()


def test_losses_are_those_of_the_steps():
    made, expected = solver(), []
    for _ in range(4):
        made.step(1)
        expected.append(float(made.net.blobs["loss"].data))
    losses = ReportLossCallback()
    monitored(solver(), entry(losses, "report_loss")).solve(4)
    assert losses.iterations == [1, 2, 3, 4]
    np.testing.assert_array_equal(losses.losses, expected)
    assert losses.losses[0] > 0.5


def test_loss_weights_count():
    made = solver(body=BODY.replace('top: "loss" }', 'top: "loss" loss_weight: 3 }'))
    made.step(1)
    assert abs(loss(made.net) - 3 * made.net.blobs["loss"].data) < 1e-6


def test_the_test_error_counts_every_entry_once():
    """Eight entries in batches of eight, of which five are wanted."""
    made = solver()
    net, sizes = made.test_nets[0], []

    def count(scores, labels):
        sizes.append((scores.shape, labels.shape))
        return int(np.count_nonzero(labels >= 2))

    errors = ReportErrorCallback(count, 0, 13)
    assert errors.test_error(0, made) == (4 + 2) / 13
    assert sizes == [((8, 4), (8,)), ((5, 4), (5,))]
    assert errors.test_error(0, made) == 6 / 13
    assert len(sizes) == 2
    made.step(1)
    errors.report_error(1, made)
    assert errors.iterations == {"train": [], "test": [0, 1]}
    np.testing.assert_array_equal(net.params["ip1"][0].data, made.net.params["ip1"][0].data)


def test_the_training_error_is_of_the_entries_trained_on_last():
    made, counts = solver(), iter([8, 4, 2, 1])
    errors = ReportErrorCallback(lambda scores, labels: next(counts), 16, 0)
    monitored(made, entry(errors, "report_error", 2)).solve(4)
    assert errors.iterations["train"] == [2, 4]
    assert errors.errors == {"train": [12 / 16, 3 / 16], "test": []}


def test_errors_by_other_blobs_and_absent_ones():
    made = solver()
    errors = ReportErrorCallback(lambda *found: found[0].shape[1], 0, 8, scores="ip1")
    assert errors.test_error(0, made) == 12 / 8
    absent = ReportErrorCallback(count_errors, 0, 8, scores="ip3", labels="label")
    assert "no blob 'ip3'" in complaint(absent.test_error, 0, made)
    assert "expected a testing_size" in complaint(
        ReportErrorCallback(count_errors, 8, 0).stop_early, 0, made
    )


def test_stop_early_really_stops_and_keeps_the_best_snapshot():
    made, counts = solver(), iter([6, 5, 7, 7, 7, 7, 7])
    errors = ReportErrorCallback(lambda *_: next(counts), 0, 8, "snap", patience=3)
    monitor = monitored(made, entry(errors, "stop_early", 2))
    reason = monitor.solve(100)
    assert reason.startswith("the test error has not fallen 3 times in a row; the lowest, 0.625")
    assert made.iter == 8
    assert sorted(path.name for path in Path().glob("snap*")) == [
        "snap_early_stopping.caffemodel",
        "snap_early_stopping.solverstate",
    ]
    at_two = solver()
    at_two.step(2)
    again = solver()
    again.restore("snap_early_stopping.solverstate")
    assert again.iter == 2
    assert_same(weights(again.net), weights(at_two.net))


def test_early_stopping_by_any_score():
    scores = iter([float("nan"), 3.0, 2.0, 1.95, 1.95])
    early = EarlyStoppingCallback(lambda *_: next(scores), patience=2, least_change=0.1)
    monitor = monitored(solver(), entry(early, "stop_early"))
    assert "the lowest, 2, was at iteration 2" in monitor.solve(100)
    assert monitor.iteration == 4
    early = EarlyStoppingCallback(lambda *_: float("nan"), patience=2)
    monitor = monitored(solver(), entry(early, "stop_early"))
    assert "2 times in a row; none was a number" in monitor.solve(100)
    assert "patience of at least 1" in complaint(EarlyStoppingCallback, len, 0)


def test_the_best_snapshot_is_kept_beside_a_regular_one():
    made, scores = solver(), iter([3, 1, 2])
    best = BestSnapshotCallback(lambda *_: next(scores), "snap")
    regular = SnapshotCallback()
    monitored(made, entry(regular, "write_snapshot", 1), entry(best, "keep_best", 1)).solve(2)
    names = sorted(path.name for path in Path().glob("snap*.solverstate"))
    assert names == [
        "snap_best.solverstate",
        *("snap_iter_%d.solverstate" % i for i in range(3)),
    ]
    made.restore("snap_best.solverstate")
    assert made.iter == 1


def test_the_last_snapshots_are_kept():
    snapshots = SnapshotCallback("snap", keep=2)
    Path("snap_iter_x.solverstate").touch()
    Path("snapshot_iter_1.solverstate").touch()
    monitored(solver(), entry(snapshots, "write_snapshot", 4)).solve(12)
    assert sorted(path.name for path in Path().glob("snap*")) == [
        "snap_iter_12.caffemodel",
        "snap_iter_12.solverstate",
        "snap_iter_8.caffemodel",
        "snap_iter_8.solverstate",
        "snap_iter_x.solverstate",
        "snapshot_iter_1.solverstate",
    ]
    assert "expected at least 1 snapshot to keep" in complaint(SnapshotCallback, keep=2)
    assert "expected the snapshot there" in complaint(create_snapshot, solver(), "elsewhere")


def test_gradients_are_those_before_the_update():
    made = solver("weight_decay: 0.1")
    gradients = ReportGradientCallback()
    monitored(made, entry(gradients, "report_gradient", 2)).solve(2)
    again = solver("weight_decay: 0.1")
    again.step(1)
    again.net.clear_param_diffs()
    again.net.forward()
    again.net.backward()
    assert gradients.iterations == [2]
    for name, expected in gradient_magnitudes(again.net).items():
        np.testing.assert_allclose(gradients.gradients[name], [expected], rtol=1e-6)
