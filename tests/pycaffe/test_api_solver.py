"""The solvers of pycaffe, as scripts drive them."""

from pathlib import Path

import numpy as np
from api_nets import DATA, IP, LABEL, raised, write

import caffe

ONLY_OURS = {
    "test_names_of_states_may_be_bytes": "BVLC's takes bytes for all files but these",
    "test_an_absent_state_can_be_caught": "BVLC's build ends the process",
}

# The loss is the sum of w . x + b over four items, so that the gradients are known.
NET = (
    'name: "sum" layer { name: "in" type: "Input" top: "data" '
    + "input_param { shape { dim: 4 dim: 3 } } }"
    + IP % ("ip", "data", "ip", 1)
    + 'layer { name: "sum" type: "Reduction" bottom: "ip" top: "loss" loss_weight: 1 }'
)
SETTINGS = (
    'net: "net.prototxt" base_lr: 0.25 lr_policy: "fixed" max_iter: 3 random_seed: 5 '
    'snapshot_prefix: "snap" test_iter: 1 test_interval: 100 test_initialization: false '
)
CLASSES = ["SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam"]
MORE = {
    "Nesterov": "momentum: 0.9",
    "RMSProp": "rms_decay: 0.9",
    "AdaDelta": "momentum: 0.9 delta: 1e-6",
    "Adam": "momentum: 0.9 momentum2: 0.99",
}


def solver_file(more="", net=NET):
    write("net.prototxt", net)
    settings = SETTINGS
    if "lr_policy" in more:
        settings = settings.replace('lr_policy: "fixed"', "")
    return write("solver.prototxt", settings + more)


def solver(more="", net=NET):
    made = caffe.SGDSolver(solver_file(more, net))
    for each in [made.net, *made.test_nets]:
        each.blobs["data"].data[...] = DATA
    return made


GRADIENT = DATA.sum(axis=0)


def test_get_solver_chooses_the_class():
    for kind in CLASSES:
        cls = getattr(caffe, kind + "Solver")
        name = solver_file('type: "%s" %s' % (kind, MORE.get(kind, "")))
        assert type(caffe.get_solver(name)) is cls
        made = cls(name)
        made.step(1)
        assert made.iter == 1
    write("solver.prototxt", SETTINGS)
    assert type(caffe.get_solver("solver.prototxt")) is caffe.SGDSolver
    for wrong in [(), ("solver.prototxt", 1)]:
        assert isinstance(raised(caffe.SGDSolver, *wrong), TypeError)
        assert isinstance(raised(caffe.get_solver, *wrong), TypeError)


def test_names_of_files_may_be_bytes():
    name = solver_file().encode()
    assert type(caffe.get_solver(name)) is caffe.SGDSolver
    assert caffe.SGDSolver(name).iter == 0


def test_nets_and_counters():
    made = solver()
    assert isinstance(made.net, caffe.Net)
    assert len(made.test_nets) == 1
    assert isinstance(made.test_nets[0], caffe.Net)
    assert made.iter == 0
    assert isinstance(raised(setattr, made, "iter", 3), AttributeError)
    assert made.step(2) is None
    assert made.iter == 2
    assert abs(made.lr - 0.25) < 1e-7


def test_param():
    made = solver("display: 7")
    assert made.param.max_iter == 3
    assert made.param.display == 7
    assert abs(made.param.base_lr - 0.25) < 1e-7
    assert made.param.layer_wise_reduce is True
    made.param.base_lr = 0.5
    assert made.lr == made.param.base_lr == 0.5
    before = made.net.params["ip"][0].data.copy()
    made.step(1)
    np.testing.assert_allclose(made.net.params["ip"][0].data, before - 0.5 * GRADIENT, rtol=1e-5)


def test_a_loop_of_ones_own():
    made = solver("momentum: 0.5")
    weight = made.net.params["ip"][0]
    expected, speed = weight.data.copy(), 0
    for count in range(3):
        assert made.iter == count
        made.net.clear_param_diffs()
        made.net.forward()
        made.net.backward()
        np.testing.assert_allclose(weight.diff[0], GRADIENT, rtol=1e-6)
        assert made.apply_update() is None
        speed = 0.25 * GRADIENT + 0.5 * speed
        expected = expected - speed
        np.testing.assert_allclose(weight.data, expected, rtol=1e-5)
        np.testing.assert_allclose(weight.diff[0], speed, rtol=1e-5)
    assert made.iter == 3


def test_the_count_of_a_loop_of_ones_own_steers_rates_and_adam():
    name = solver_file(
        'type: "Adam" momentum: 0.5 momentum2: 0.75 delta: 1e-8 lr_policy: "step" gamma: 0.5 '
        "stepsize: 2"
    )
    made = caffe.AdamSolver(name)
    weight = made.net.params["ip"][0]
    expected = weight.data.astype("d")
    mean = square = 0.0
    for count in range(4):
        weight.diff[...] = gradient = 1.0 + count
        made.apply_update()
        mean = 0.5 * mean + 0.5 * gradient
        square = 0.75 * square + 0.25 * gradient**2
        rate = 0.25 * 0.5 ** (count // 2)
        factor = (1 - 0.75 ** (count + 1)) ** 0.5 / (1 - 0.5 ** (count + 1))
        expected = expected - rate * factor * mean / (square**0.5 + 1e-8)
        np.testing.assert_allclose(weight.data, expected, rtol=1e-5, atol=1e-6)


def test_diffs_changed_before_the_update():
    made = solver()
    weight = made.net.params["ip"][0]
    before = weight.data.copy()
    made.net.clear_param_diffs()
    weight.diff[...] = 2
    made.apply_update()
    np.testing.assert_allclose(weight.data, before - 0.5, rtol=1e-5, atol=1e-6)


def test_every_blob_is_there_after_a_step():
    made = solver()
    before = made.net.params["ip"][0].data.copy()
    made.step(2)
    before = before - 0.25 * GRADIENT
    bias = 0.5 - 0.25 * 4
    np.testing.assert_allclose(
        made.net.blobs["ip"].data, DATA @ before.T + bias, rtol=1e-4, atol=1e-5
    )
    np.testing.assert_array_equal(made.net.blobs["ip"].diff, np.ones((4, 1)))


def test_solve_snapshot_restore():
    made = solver()
    assert made.solve() is None
    assert made.iter == 3
    assert Path("snap_iter_3.caffemodel").exists()
    again = solver()
    assert again.restore("snap_iter_3.solverstate") is None
    assert again.iter == 3
    np.testing.assert_array_equal(again.net.params["ip"][0].data, made.net.params["ip"][0].data)
    again.step(1)
    again.snapshot()
    assert Path("snap_iter_4.solverstate").exists()


def test_names_of_states_may_be_bytes():
    made = solver()
    made.step(1)
    made.snapshot()
    made.step(1)
    made.restore(b"snap_iter_1.solverstate")
    assert made.iter == 1
    made.solve(b"snap_iter_1.solverstate")
    assert made.iter == 3


def test_solve_goes_on_from_a_state():
    made = solver("momentum: 0.5")
    made.step(1)
    made.snapshot()
    made.solve()
    again = solver("momentum: 0.5")
    again.solve("snap_iter_1.solverstate")
    assert again.iter == 3
    np.testing.assert_array_equal(again.net.params["ip"][0].data, made.net.params["ip"][0].data)


def test_share_weights():
    made = solver()
    net = made.test_nets[0]
    net.params["ip"][0].data[...] = 2
    made.net.params["ip"][0].data[...] = 1
    assert made.share_weights(net) is None
    assert (net.params["ip"][0].data == 1).all()
    made.net.params["ip"][0].data[...] = 3
    assert (net.params["ip"][0].data == 3).all()
    raised(made.share_weights, made)


def test_a_callback_sees_each_iteration():
    made, seen = solver("iter_size: 2"), []
    net = made.net

    def look(what):
        parameter = net.params["ip"][0]
        blob = net.blobs["ip"]
        seen.append((what, made.iter, parameter.diff.copy(), blob.data.copy(), blob.diff.copy()))

    weight = net.params["ip"][0].data.copy()
    assert made.add_callback(lambda: look("start"), lambda: look("ready")) is None
    made.step(2)
    made.step(1)
    assert [each[:2] for each in seen] == [
        ("start", 0), ("ready", 0), ("start", 1), ("ready", 1), ("start", 2), ("ready", 2),
    ]  # fmt: skip
    last = np.zeros((4, 1))
    bias = 0.5
    for what, _iteration, diff, data, data_diff in seen:
        if what == "start":
            assert not diff.any()
            np.testing.assert_array_equal(data, last)
            continue
        np.testing.assert_allclose(diff[0], 2 * GRADIENT, rtol=1e-5)
        np.testing.assert_allclose(data, DATA @ weight.T + bias, rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(data_diff, np.ones((4, 1)))
        weight = weight - 0.25 * GRADIENT
        bias -= 0.25 * 4
        last = data


def test_a_callback_may_change_gradients():
    made = solver()
    weight = made.net.params["ip"][0]
    before = weight.data.copy()

    def halve():
        weight.diff[...] *= 0.5

    made.add_callback(lambda: None, halve)
    made.step(2)
    np.testing.assert_allclose(weight.data, before - 0.25 * GRADIENT, rtol=1e-5, atol=1e-6)


def test_callbacks_in_their_order_and_their_exceptions():
    made, seen = solver(), []
    made.add_callback(lambda: seen.append("a"), lambda: seen.append("b"))
    made.add_callback(lambda: seen.append("c"), lambda: seen.append("d"))
    made.step(1)
    assert seen == ["a", "c", "b", "d"]

    def fail():
        raise KeyError("mine")

    made.add_callback(lambda: None, fail)
    assert isinstance(raised(made.step, 3), KeyError)
    assert made.iter == 1


def test_hooks_of_the_trained_net():
    made, seen = solver(), []
    made.net.before_forward(lambda index: seen.append(("forward", index)))
    made.net.after_backward(lambda index: seen.append(("backward", index)))
    made.step(2)
    once = [("forward", i) for i in range(3)] + [("backward", i) for i in (2, 1, 0)]
    assert seen == 2 * once


def test_an_absent_state_can_be_caught():
    made = solver()
    for call in (made.restore, made.solve):
        assert "absent" in str(raised(call, "absent.solverstate"))
    assert "absent" in str(raised(caffe.get_solver, "absent.prototxt"))
    assert LABEL.any()
