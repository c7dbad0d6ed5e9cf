"""What BVLC's build answers about nets, what they save, and the solver's loop.

As in test_bvlc_semantics: nothing of ours runs here, and the answers are literal.
"""

from __future__ import annotations

import pytest
from bvlc import Build
from bvlc_questions import TINY, ask

pytestmark = pytest.mark.oracle


def test_names_of_implicit_splits(bvlc: Build) -> None:
    """`<blob>_<its last writer>_<top's index>_split`, its tops numbered in order of use."""
    question = (
        TINY
        + """
made = net(TINY + 'layer { name: "s" type: "Silence" bottom: "ip" }')
answer = {"layers": list(made._layer_names), "blobs": list(made.blobs), "outputs": made.outputs,
          "ip2 reads": made.bottom_names["ip2"], "types": [layer.type for layer in made.layers]}
"""
    )
    assert ask(bvlc, question) == {
        "layers": [
            "data",
            "label_data_1_split",
            "ip",
            "relu",
            "ip_relu_0_split",
            "ip2",
            "ip2_ip2_0_split",
            "l",
            "a",
            "s",
        ],
        "blobs": [
            "data",
            "label",
            "label_data_1_split_0",
            "label_data_1_split_1",
            "ip",
            "ip_relu_0_split_0",
            "ip_relu_0_split_1",
            "ip2",
            "ip2_ip2_0_split_0",
            "ip2_ip2_0_split_1",
            "loss",
            "accuracy",
        ],
        "outputs": ["accuracy", "loss"],
        "ip2 reads": ["ip_relu_0_split_0"],
        "types": [
            "DummyData",
            "Split",
            "InnerProduct",
            "ReLU",
            "Split",
            "InnerProduct",
            "Split",
            "SoftmaxWithLoss",
            "Accuracy",
            "Silence",
        ],
    }


def test_saved_net_holds_every_layer_and_no_shape_but_blob_shape(bvlc: Build) -> None:
    question = (
        TINY
        + """
made = net(TINY)
made.save("saved")
saved = read(caffe_pb2.NetParameter(), "saved")
answer = {"net": fields(saved), "layers": {l.name: fields(l) for l in saved.layer},
          "phases": sorted(set(l.phase for l in saved.layer)),
          "blob": fields(saved.layer[2].blobs[0]), "loss bottoms": list(saved.layer[6].bottom),
          "shapes": [list(b.shape.dim) for b in saved.layer[2].blobs]}
"""
    )
    learned = ["name", "type", "bottom", "top", "param", "blobs", "phase", "inner_product_param"]
    assert ask(bvlc, question) == {
        "net": ["name", "layer"],
        "layers": {
            "data": ["name", "type", "top", "phase", "dummy_data_param"],
            "label_data_1_split": ["name", "type", "bottom", "top", "phase"],
            "ip": learned,
            "relu": ["name", "type", "bottom", "top", "phase"],
            "ip2": learned,
            "ip2_ip2_0_split": ["name", "type", "bottom", "top", "phase"],
            "l": ["name", "type", "bottom", "top", "loss_weight", "phase"],
            "a": ["name", "type", "bottom", "top", "include", "phase"],
        },
        "phases": [1],
        "blob": ["data", "shape"],
        "loss bottoms": ["ip2_ip2_0_split_0", "label_data_1_split_0"],
        "shapes": [[3, 3], [3]],
    }


def test_param_diff_after_a_step_is_the_update_and_so_is_the_history(bvlc: Build) -> None:
    question = (
        TINY
        + """
made = solver("")
params = [p for layer in made.net.params.values() for p in layer]
before = [p.data.copy() for p in params]
made.step(1)
moved = [b - p.data for b, p in zip(before, params)]
made.snapshot()
state = read(caffe_pb2.SolverState(), "snap_iter_1.solverstate")
model = read(caffe_pb2.NetParameter(), "snap_iter_1.caffemodel")
answer = {
    "diff is update": [bool(np.allclose(m, p.diff, atol=1e-7)) for m, p in zip(moved, params)],
    "moved": [bool(m.any()) for m in moved],
    "history is diff": [bool((np.array(h.data, "f") == p.diff.ravel()).all())
                        for h, p in zip(state.history, params)],
    "state": fields(state), "history": fields(state.history[0]),
    "learned_net": state.learned_net, "iter": state.iter,
    "loss": [np.shape(made.net.blobs["loss"].data), float(made.net.blobs["loss"].diff)],
    "saved layers": [l.name for l in model.layer],
}
"""
    )
    assert ask(bvlc, question) == {
        "diff is update": [True, True, True, True],
        # ip2's weights are frozen by lr_mult: 0; they still have a place in the history
        "moved": [True, True, False, True],
        "history is diff": [True, True, True, True],
        "state": ["iter", "learned_net", "history", "current_step"],
        "history": ["data", "shape"],
        "learned_net": "snap_iter_1.caffemodel",
        "iter": 1,
        "loss": [[], 1.0],
        "saved layers": ["data", "ip", "relu", "ip2", "l"],
    }


def test_diff_of_a_blob_that_relu_overwrites_is_the_gradient_at_its_input(bvlc: Build) -> None:
    question = """
made = net(blob("data", 1, 4) + '''force_backward: true
layer { name: "scale" type: "Power" bottom: "data" top: "x" power_param { scale: 5 } }
layer { name: "relu" type: "ReLU" bottom: "x" top: "x" }
layer { name: "out" type: "Power" bottom: "x" top: "out" power_param { scale: 3 } }''')
made.blobs["data"].data[...] = [-1, 2, 0, 3]
made.forward()
made.blobs["out"].diff[...] = 1
made.backward()
answer = [made.blobs[name].diff[0] for name in ("x", "data")]
"""
    assert ask(bvlc, question) == [[0, 3, 0, 3], [0, 15, 0, 15]]


def test_when_the_solver_tests_and_displays(bvlc: Build) -> None:
    """A test comes before the iteration whose number its interval divides.

    step() ends without a test; solve() ends with one, after one more forward for the loss.
    """
    question = (
        TINY
        + """
def events(more, act):
    log = []
    made = solver(more)
    made.test_nets[0].before_forward(lambda layer: log.append("t") if layer == 0 else None)
    made.net.before_forward(lambda layer: log.append("f") if layer == 0 else None)
    made.net.after_backward(lambda layer: log.append("b") if layer == 0 else None)
    act(made)
    return "".join(log)

test = "test_iter: 2 test_interval: 2 max_iter: 4 "
answer = {
    "step 1": events(test, lambda s: s.step(1)),
    "step 2": events(test, lambda s: s.step(2)),
    "step 3": events(test, lambda s: s.step(3)),
    "no initial test": events(test + "test_initialization: false", lambda s: s.step(3)),
    "solve": events(test, lambda s: s.solve()),
    "solve displaying": events(test + "display: 4", lambda s: s.solve()),
    "iter_size": events(test + "iter_size: 2", lambda s: s.step(1)),
}
"""
    )
    assert ask(bvlc, question) == {
        "step 1": "ttfb",
        "step 2": "ttfbfb",
        "step 3": "ttfbfbttfb",
        "no initial test": "fbfbttfb",
        "solve": "ttfbfbttfbfbtt",
        "solve displaying": "ttfbfbttfbfbftt",
        "iter_size": "ttfbfb",
    }


def test_test_nets_take_the_weights_when_a_test_runs_and_not_before(bvlc: Build) -> None:
    question = (
        TINY
        + """
made = solver("test_iter: 1 test_interval: 2")
def same():
    ours, tested = made.net.params["ip"][0], made.test_nets[0].params["ip"][0]
    return bool((ours.data == tested.data).all())
answer = [same()]
made.step(1)
answer.append(same())
made.net.params["ip"][0].data[...] = 7
answer.append(same())
"""
    )
    assert ask(bvlc, question) == [False, True, True]


def test_snapshots_of_a_solved_net(bvlc: Build) -> None:
    question = (
        TINY
        + """
import glob, os
answer = {}
for more in ("max_iter: 4 snapshot: 3", "max_iter: 4 snapshot: 2",
             "max_iter: 3 snapshot_after_train: false", "max_iter: 3"):
    solver(more).solve()
    answer[more] = sorted(glob.glob("snap_iter_*"))
    for name in answer[more]:
        os.remove(name)
"""
    )

    def snapshots(*iterations: int) -> list[str]:
        kinds = ("caffemodel", "solverstate")
        return [f"snap_iter_{n}.{kind}" for n in iterations for kind in kinds]

    assert ask(bvlc, question) == {
        "max_iter: 4 snapshot: 3": snapshots(3, 4),
        "max_iter: 4 snapshot: 2": snapshots(2, 4),
        "max_iter: 3 snapshot_after_train: false": [],
        "max_iter: 3": snapshots(3),
    }


def test_gradients_are_clipped_before_the_decay_is_added(bvlc: Build) -> None:
    question = (
        TINY
        + """
made = solver("clip_gradients: 0.01")
params = [p for layer in made.net.params.values() for p in layer]
before = [p.data.copy() for p in params]
made.step(1)
rates, decays = (0.1, 0.2, 0.0, 0.1), (0.05, 0.0, 0.05, 0.05)
gradients = [p.diff / rate - decay * b
             for p, b, rate, decay in zip(params, before, rates, decays) if rate]
answer = math.sqrt(sum(float((g ** 2).sum()) for g in gradients))
"""
    )
    # ip2's frozen weights have no gradient and take no part in the norm
    assert ask(bvlc, question) == pytest.approx(0.01, rel=1e-4)
