"""Learning rate policies of the runtime: equal to those of the tools, and their mistakes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from bvlc import Build
from google.protobuf import text_format

from caffe.proto import caffe_pb2
from caffetools import schedule
from recaffe.errors import SolverError
from recaffe.solver.policies import current_step, learning_rate, steps_passed

POLICIES = ["fixed", "step", "exp", "inv", "multistep", "poly", "sigmoid"]


def solver(text: str):
    return text_format.Parse(text, caffe_pb2.SolverParameter())


@pytest.mark.parametrize("policy", POLICIES)
def test_rates_are_those_that_the_tools_compute(policy):
    """Random parameters; stepvalues also repeat and fall."""
    random = np.random.default_rng(POLICIES.index(policy))
    for _ in range(50):
        param = caffe_pb2.SolverParameter(
            lr_policy=policy,
            base_lr=random.uniform(0.001, 2),
            gamma=random.uniform(0.1, 1),
            power=random.uniform(0.1, 3),
            stepsize=int(random.integers(1, 9)),
            max_iter=30,
            stepvalue=random.integers(0, 20, random.integers(0, 6)).tolist(),
        )
        for iteration in range(0, 31, 1 + int(random.integers(3))):
            expected = schedule.learning_rate(param, iteration)
            assert learning_rate(param, iteration) == pytest.approx(expected, rel=1e-12)


def test_rates_by_hand():
    """Written from the formulas, so that two equal mistakes would show."""
    by_hand = {
        "lr_policy: 'step' base_lr: 0.5 gamma: 0.25 stepsize: 3": {2: 0.5, 3: 0.125, 6: 0.03125},
        "lr_policy: 'inv' base_lr: 0.5 gamma: 0.25 power: 0.5": {0: 0.5, 12: 0.25},
        "lr_policy: 'poly' base_lr: 0.5 power: 2 max_iter: 10": {0: 0.5, 5: 0.125, 10: 0},
        "lr_policy: 'exp' base_lr: 0.5 gamma: 0.5": {0: 0.5, 2: 0.125},
        "lr_policy: 'sigmoid' base_lr: 0.5 gamma: 1 stepsize: 4": {
            4: 0.25, 4000: 0.5, 0: 0.008993},
        "lr_policy: 'multistep' base_lr: 1 gamma: 0.5 stepvalue: [2, 4, 4, 3]": {
            1: 1, 2: 0.5, 3: 0.5, 4: 0.25, 5: 0.125, 6: 0.0625, 9: 0.0625},
    }  # fmt: skip
    for text, rates in by_hand.items():
        for iteration, rate in rates.items():
            assert learning_rate(solver(text), iteration) == pytest.approx(rate, abs=1e-6)


def test_steps_pass_one_an_iteration_as_a_loop_does():
    """The closed form against Caffe's counter, which is asked once an iteration."""
    random = np.random.default_rng(0)
    for _ in range(200):
        values = random.integers(0, 9, random.integers(0, 6)).tolist()
        counter = 0
        for iteration in range(16):
            if counter < len(values) and iteration >= values[counter]:
                counter += 1
            assert steps_passed(values, iteration) == counter, (values, iteration)


def test_current_step_is_as_of_the_last_update():
    step = solver("lr_policy: 'step' stepsize: 2 stepvalue: 1")
    assert [current_step(step, i) for i in range(6)] == [0, 0, 0, 1, 1, 2]
    multistep = solver("lr_policy: 'multistep' stepvalue: [2, 2, 5] stepsize: 1")
    assert [current_step(multistep, i) for i in range(8)] == [0, 0, 0, 1, 2, 2, 3, 3]
    assert current_step(solver("lr_policy: 'fixed' stepvalue: 1 stepsize: 1"), 9) == 0


def test_rates_that_grow_beyond_all_bounds_are_infinite():
    assert learning_rate(solver("lr_policy: 'exp' base_lr: 1 gamma: 10"), 9999) == float("inf")
    poly = solver("lr_policy: 'poly' base_lr: -1 power: -0.5 max_iter: 5")
    assert learning_rate(poly, 5) == -float("inf")


@pytest.mark.parametrize(
    ("power", "rates"),
    [("", [1, 1, 1]), ("power: 1", [0, -0.2, -0.4]), ("power: 2", [0, 0.04, 0.16]),
     ("power: 3", [0, -0.008, -0.064]), ("power: -1", [float("inf"), -5, -2.5])],
)  # fmt: skip
def test_whole_powers_go_on_beyond_max_iter(power, rates):
    poly = solver(f"lr_policy: 'poly' base_lr: 1 max_iter: 5 {power}")
    assert [learning_rate(poly, i) for i in (5, 6, 7)] == pytest.approx(rates)


BEYOND = """
import caffe
NET = '''
layer { name: "x" type: "DummyData" top: "x" dummy_data_param {
  shape { dim: 1 dim: 1 } data_filler { value: 1 } } }
layer { name: "it" type: "InnerProduct" bottom: "x" top: "y" loss_weight: 1
  inner_product_param { num_output: 1 bias_term: false } }
'''
open("net.prototxt", "w").write(NET)
rates = {}
for power in (0, 1, 2, 3, -1, -2, 0.5, 1.5):
    with open("solver.prototxt", "w") as stream:
        stream.write('net: "net.prototxt" lr_policy: "poly" base_lr: 1 max_iter: 5 ')
        stream.write("power: %g" % power)
    solver = caffe.get_solver("solver.prototxt")
    rates[power] = []
    for _ in range(9):
        solver.step(1)
        rates[power].append(float(solver.net.params["it"][0].diff[0, 0]))
print(json.dumps(rates))
"""


@pytest.mark.oracle
def test_rates_beyond_max_iter_are_bvlcs_but_for_nan(bvlc: Build):
    """The gradient is 1, so that the update is the rate."""
    for power, rates in bvlc.python("import json" + BEYOND).json().items():
        poly = solver(f"lr_policy: 'poly' base_lr: 1 max_iter: 5 power: {power}")
        for iteration, rate in enumerate(rates):
            if math.isnan(rate):
                with pytest.raises(SolverError, match="ends at max_iter"):
                    learning_rate(poly, iteration)
            else:
                assert learning_rate(poly, iteration) == pytest.approx(rate, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize(
    ("text", "iteration", "says"),
    [("lr_policy: 'stepp'", 0, "lr_policy 'stepp' is not known; known: exp, fixed, inv, multistep"),
     ("base_lr: 1", 0, "lr_policy '' is not known"),
     ("lr_policy: 'step'", 0, "'step' needs a stepsize of at least 1"),
     ("lr_policy: 'sigmoid'", 0, "'sigmoid' needs a stepsize of at least 1"),
     ("lr_policy: 'exp' gamma: -1", 0, "'exp' needs a gamma of at least 0, found -1"),
     ("lr_policy: 'sigmoid' gamma: -1 stepsize: 1", 0, "'sigmoid' needs a gamma of at least 0"),
     ("lr_policy: 'poly' power: 1", 0, "'poly' needs a max_iter; set it to the last"),
     ("lr_policy: 'poly' power: 0.5 max_iter: 5", 6,
      "power 0.5 ends at max_iter, which is 5, and iteration 6 was asked for"),
     ],
)  # fmt: skip
def test_mistakes(text, iteration, says):
    with pytest.raises(SolverError, match=says):
        learning_rate(solver(text), iteration)
