"""Each update rule against its formulas in plain NumPy, and what all rules have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from bvlc import Build
from google.protobuf import text_format
from small_solvers import GRADIENTS, LINEAR, START, make, values

import caffe
from caffe.proto import caffe_pb2
from recaffe.context import context
from recaffe.errors import SolverError
from recaffe.solver import make_solver, register, solver_class, solver_types, updates


@pytest.fixture(autouse=True)
def _seeded() -> None:
    context.seed(1)


# A rule as a generator: it is sent (iteration, rate, gradient) and gives the update and its
# history. Nothing of ours is read.
Rule = Callable[..., Iterator[tuple[np.ndarray, list[np.ndarray]]]]


def single(value: float) -> float:
    """What a float of the message holds of it."""
    return float(np.float32(value))


# The message's defaults, as floats.
RMS_DECAY, MOMENTUM2 = single(0.99), single(0.999)


def sgd(momentum=0.0):
    update, h = None, 0.0
    while True:
        _, rate, gradient = yield update
        h = momentum * h + rate * gradient
        update = h, [h]


def nesterov(momentum=0.0):
    update, h = None, 0.0
    while True:
        _, rate, gradient = yield update
        before, h = h, momentum * h + rate * gradient
        update = (1 + momentum) * h - momentum * before, [h]


def adagrad(delta=1e-8):
    update, h = None, 0.0
    while True:
        _, rate, gradient = yield update
        h = h + gradient**2
        update = rate * gradient / (np.sqrt(h) + delta), [h]


def rmsprop(rms_decay=RMS_DECAY, delta=1e-8):
    update, h = None, 0.0
    while True:
        _, rate, gradient = yield update
        h = rms_decay * h + (1 - rms_decay) * gradient**2
        update = rate * gradient / (np.sqrt(h) + delta), [h]


def adadelta(momentum=0.0, delta=1e-8):
    update, h, s = None, 0.0, 0.0
    while True:
        _, rate, gradient = yield update
        h = momentum * h + (1 - momentum) * gradient**2
        u = gradient * np.sqrt((s + delta) / (h + delta))
        s = momentum * s + (1 - momentum) * u**2
        update = rate * u, [h, s]


def adam(momentum=0.0, momentum2=MOMENTUM2, delta=1e-8):
    update, m, v = None, 0.0, 0.0
    while True:
        iteration, rate, gradient = yield update
        t = iteration + 1
        m = momentum * m + (1 - momentum) * gradient
        v = momentum2 * v + (1 - momentum2) * gradient**2
        correction = np.sqrt(1 - momentum2**t) / (1 - momentum**t)
        update = rate * correction * m / (np.sqrt(v) + delta), [m, v]


RULES: dict[str, Rule] = {
    "SGD": sgd, "Nesterov": nesterov, "AdaGrad": adagrad, "RMSProp": rmsprop,
    "AdaDelta": adadelta, "Adam": adam,
}  # fmt: skip
SETTINGS = {
    "SGD": [{}, {"momentum": 0.9}],
    "Nesterov": [{}, {"momentum": 0.9}],
    "AdaGrad": [{}, {"delta": 0.5}],
    "RMSProp": [{}, {"rms_decay": 0.5, "delta": 0.5}, {"rms_decay": 0}],
    "AdaDelta": [{}, {"momentum": 0.75, "delta": 0.5}],
    "Adam": [{}, {"momentum": 0.75, "momentum2": 0.5, "delta": 0.5}, {"momentum": 0.5}],
}
WITHOUT_MOMENTUM = ("AdaGrad", "RMSProp")
CASES = [(name, settings) for name, all_ in SETTINGS.items() for settings in all_]


def test_every_registered_type_is_tested_here():
    assert set(solver_types()) == set(RULES) == set(SETTINGS)


def described(name: str, settings: dict) -> str:
    return f"type: '{name}' " + " ".join(f"{k}: {v}" for k, v in settings.items())


def started(name: str, settings: dict):
    rule = RULES[name](**{key: single(value) for key, value in settings.items()})
    next(rule)
    return rule


def expected(name, settings, steps, rate=lambda step: 0.1, decay=0.0, lr=(1, 1), scale=1.0,
             l1=False):  # fmt: skip
    """Weights after each step, the last updates, and the last history in Caffe's order."""
    rules = [started(name, settings) for _ in START]
    weights = [start.copy() for start in START]
    seen, last = [], []
    for step in range(steps):
        last = []
        for i, rule in enumerate(rules):
            pull = np.sign(weights[i]) if l1 else weights[i]
            gradient = scale * GRADIENTS[i] + decay * pull
            last.append(rule.send((step, rate(step) * lr[i], gradient)))
            weights[i] = weights[i] - last[-1][0]
        seen.append([weight.copy() for weight in weights])
    slots = range(len(last[0][1]))
    return seen, [update for update, _ in last], [own[slot] for slot in slots for _, own in last]


def check(solver, wanted, rtol=3e-6):
    seen, update, history = wanted
    for step, weights in enumerate(seen):
        solver.step(1)
        for found, weight in zip(values(solver), weights, strict=True):
            np.testing.assert_allclose(found, weight, rtol=rtol, atol=1e-6, err_msg=f"step {step}")
    for blob, diff in zip(solver.net.learnable, update, strict=True):
        np.testing.assert_allclose(blob.diff, diff, rtol=rtol)
    for found, array in zip(solver.history(), history, strict=True):
        np.testing.assert_allclose(found, array, rtol=rtol)


@pytest.mark.parametrize(("name", "settings"), CASES)
def test_rules_follow_their_formulas(name, settings):
    check(make(described(name, settings)), expected(name, settings, 5))


@pytest.mark.parametrize(("name", "settings"), CASES)
def test_decay_clipping_policies_and_factors_come_before_the_rule(name, settings):
    more = """ weight_decay: 0.25 clip_gradients: 3 iter_size: 2 lr_policy: "step" gamma: 0.5
               stepsize: 2 """
    norm = np.sqrt(4**2 + 4**2 + 2**2)
    solver = make(described(name, settings) + more, specs="param { lr_mult: 2 }")
    wanted = expected(name, settings, 5, lambda step: 0.1 * 0.5 ** (step // 2), 0.25, (2, 1),
                      3 / norm / 2)  # fmt: skip
    check(solver, wanted)


@pytest.mark.parametrize(("name", "settings"), CASES)
def test_l1_pulls_by_the_sign(name, settings):
    solver = make(described(name, settings) + " weight_decay: 0.5 regularization_type: 'L1'")
    check(solver, expected(name, settings, 5, decay=0.5, l1=True))


@pytest.mark.parametrize(("name", "settings"), CASES)
def test_tiny_rates_lose_no_precision(name, settings):
    """No weight moves visibly, but updates must be right to the last digits."""
    for rate in (1e-5, 1e-9, 1e-13):
        solver = make(described(name, settings) + f" base_lr: {rate}")
        check(solver, expected(name, settings, 4, lambda step, rate=rate: rate))


@pytest.mark.parametrize("force", ["", "force_backward: true"])
@pytest.mark.parametrize(("name", "settings"), CASES)
def test_frozen_parameters_keep_their_history_as_in_caffe(name, settings, force):
    """Rate 0 moves nothing; what the decay pulls at still goes into histories without a rate."""
    frozen = LINEAR.replace("SPECS", "param { lr_mult: 0 }")
    solver = make(described(name, settings) + " weight_decay: 0.5", frozen + force)
    rule = started(name, settings)
    gradient = GRADIENTS[0] if force else 0.0
    for step in range(3):
        _, history = rule.send((step, 0.0, gradient + 0.5 * START[0]))
        solver.step(1)
    np.testing.assert_array_equal(values(solver)[0], START[0])
    np.testing.assert_array_equal(solver.net.learnable[0].diff, np.zeros((1, 2)))
    for found, wanted in zip(solver.history()[:: len(START)], history, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5)


ADAPTIVE = ["AdaDelta", "AdaGrad", "Adam", "RMSProp"]


@pytest.mark.parametrize("name", ADAPTIVE)
def test_a_frozen_parameter_stays_where_its_update_is_0_by_0(name):
    frozen = LINEAR.replace("SPECS", "param { lr_mult: 0 }")
    solver = make(f"type: '{name}' delta: 0", frozen)
    solver.step(3)
    np.testing.assert_array_equal(values(solver)[0], START[0])
    np.testing.assert_array_equal(solver.net.learnable[0].diff, np.zeros((1, 2)))


FROZEN = """
import json
import caffe
kept = {}
for name in %s:
    with open("solver.prototxt", "w") as stream:
        stream.write('net: "net.prototxt" lr_policy: "fixed" base_lr: 0.1 delta: 0 ')
        stream.write('type: "%%s"' %% name)
    solver = caffe.get_solver("solver.prototxt")
    solver.step(3)
    kept[name] = [float(value) for value in solver.net.params["ip"][0].data.ravel()]
print(json.dumps(kept))
"""


@pytest.mark.oracle
def test_a_frozen_parameter_stays_in_bvlc_too(bvlc: Build):
    files = {"net.prototxt": LINEAR.replace("SPECS", "param { lr_mult: 0 }")}
    found = bvlc.python(FROZEN % ADAPTIVE, files=files).json()
    assert found == {name: [0.5, 0.5] for name in ADAPTIVE}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_rate_of_0_moves_nothing_whatever_the_gradient_is(name):
    solver = make(f"type: '{name}' base_lr: 0" + " momentum: 0.5" * (name not in WITHOUT_MOMENTUM))
    for _ in range(2):
        for blob in solver.net.learnable:
            blob.diff[...] = np.inf
        solver.apply_update()
    for found, start in zip(values(solver), START, strict=True):
        np.testing.assert_array_equal(found, start)


@pytest.mark.parametrize(("name", "settings"), CASES)
def test_blocks_change_no_number(name, settings, monkeypatch):
    """A parameter in many blocks, and many parameters in one, give what single ones give."""
    text = described(name, settings) + " weight_decay: 0.5"
    found = []
    for block in (1, 2, 1 << 17):
        monkeypatch.setattr(updates, "BLOCK", block)
        solver = make(text)
        solver.step(3)
        found.append([*values(solver), *solver.history()])
    for other in found[1:]:
        for a, b in zip(other, found[0], strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("sizes", [[3], [1, 1, 1], [5, 2, 9, 1], [4, 4], [0, 3]])
@pytest.mark.parametrize("block", [1, 2, 4, 100])
def test_blocks_cover_all_once(sizes, block, monkeypatch):
    monkeypatch.setattr(updates, "BLOCK", block)
    columns = [[torch.zeros(size) for size in sizes] for _ in range(3)]
    for row, part in enumerate(updates.in_blocks(columns)):
        lengths = [[tensor.numel() for tensor in column] for column in part]
        assert lengths[0] == lengths[1] == lengths[2]
        assert sum(lengths[0]) <= 2 * block
        for column in part:
            for tensor in column:
                tensor += row + 1
    for column in columns[1:]:
        for a, b in zip(column, columns[0], strict=True):
            assert (a > 0).all()
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(("name", "settings"), CASES)
def test_an_update_may_be_applied_twice(name, settings):
    """The second one takes the first one's update for its gradient, as BVLC's build does."""
    solver = make(described(name, settings))
    solver.step(1)
    rules = [started(name, settings) for _ in START]
    weights = [start.copy() for start in START]
    diffs = GRADIENTS
    for step in range(2):
        if step:
            solver.apply_update()
        for i, rule in enumerate(rules):
            update, _ = rule.send((step, 0.1, diffs[i]))
            weights[i], diffs = weights[i] - update, [*diffs[:i], update, *diffs[i + 1 :]]
    for found, wanted in zip(values(solver), weights, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5)


@pytest.mark.parametrize("name", RULES)
def test_views_of_diffs_and_weights_show_the_update(name):
    solver = make(described(name, SETTINGS[name][-1]))
    blob = solver.net.learnable[0]
    data, diff = blob.data, blob.diff
    solver.step(2)
    seen, update, _ = expected(name, SETTINGS[name][-1], 2)
    np.testing.assert_allclose(data, seen[-1][0], rtol=3e-6)
    np.testing.assert_allclose(diff, update[0], rtol=3e-6)


# -- types and settings -------------------------------------------------------------------


@pytest.mark.parametrize("name", RULES)
def test_types_find_their_classes_here_and_in_pycaffe(name, tmp_path):
    assert solver_class(name).type == name
    net = tmp_path / "net.prototxt"
    net.write_text(
        'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 } } }')  # fmt: skip
    path = tmp_path / "solver.prototxt"
    path.write_text(f'net: "{net}" type: "{name}" lr_policy: "fixed" base_lr: 0.5')
    assert type(caffe.get_solver(path)) is getattr(caffe, f"{name}Solver")
    solver = getattr(caffe, f"{name}Solver")(path)
    assert type(solver._runtime) is solver_class(name)
    assert (solver.iter, solver.lr) == (0, 0.5)


@pytest.mark.parametrize("name", RULES)
def test_the_old_enum_finds_the_class(name, tmp_path):
    path = tmp_path / "solver.prototxt"
    path.write_text(f"""solver_type: {name.upper()} lr_policy: "fixed" net_param {{
      layer {{ name: "x" type: "Input" top: "x" input_param {{ shape {{ dim: 1 }} }} }} }}""")
    assert type(caffe.get_solver(path)) is getattr(caffe, f"{name}Solver")


def test_unknown_types_and_double_names_are_told():
    known = ", ".join(sorted(RULES))
    with pytest.raises(SolverError, match=f"solver type 'Sgd' is not known; known: {known}"):
        make_solver(text_format.Parse('type: "Sgd"', caffe_pb2.SolverParameter()))
    with pytest.raises(ValueError, match="two solvers are registered as 'Adam'"):
        register("Adam")(solver_class("Adam"))


MISTAKES = [
    ("type: 'AdaGrad' momentum: 0.9", "AdaGrad has no momentum, but momentum is 0.9"),
    ("type: 'RMSProp' momentum: 0.9", "RMSProp has no momentum, but momentum is 0.9"),
    ("type: 'RMSProp' rms_decay: 1", "rms_decay is 1; it must be at least 0 and below 1"),
    ("type: 'RMSProp' rms_decay: -0.5", "rms_decay is -0.5"),
    ("type: 'Adam' momentum: 1", "Adam's momentum is 1; it must be above -1 and below 1"),
    ("type: 'Adam' momentum2: 1.5", "Adam's momentum2 is 1.5"),
]


@pytest.mark.parametrize(("settings", "says"), MISTAKES)
def test_settings_that_a_rule_cannot_work_with_are_told(settings, says):
    with pytest.raises(SolverError, match=says):
        make(settings)
