"""Learning rates by iteration: by hand, and as BVLC's solver logs them."""

from __future__ import annotations

import math
import re
from typing import Any

import bvlc as bvlc_build
import pytest
from google.protobuf import text_format

from caffe.proto import caffe_pb2
from caffetools.cli import ToolError
from caffetools.schedule import learning_rate, require_fields, steps_passed

# Each policy with parameters under which every term of its formula matters.
SOLVERS = {
    "fixed": "base_lr: 0.5 gamma: 0.1 power: 2",
    "step": "base_lr: 0.5 gamma: 0.25 stepsize: 3",
    "exp": "base_lr: 0.5 gamma: 0.75",
    "inv": "base_lr: 0.5 gamma: 0.25 power: 0.75",
    "multistep": "base_lr: 0.5 gamma: 0.25 stepvalue: [2, 5, 5, 7]",
    "poly": "base_lr: 0.5 power: 1.5 max_iter: 10",
    "sigmoid": "base_lr: 0.5 gamma: 0.5 stepsize: 3",
}
BY_HAND = {
    "fixed": {0: 0.5, 7: 0.5},
    "step": {0: 0.5, 2: 0.5, 3: 0.125, 6: 0.03125},
    "exp": {0: 0.5, 1: 0.375, 2: 0.28125},
    "inv": {0: 0.5, 4: 0.5 / 2**0.75, 60: 0.0625},
    "multistep": {1: 0.5, 2: 0.125, 4: 0.125, 5: 0.03125, 6: 0.0078125, 7: 0.001953125},
    "poly": {0: 0.5, 5: 0.5 * 0.5**1.5, 10: 0.0},
    "sigmoid": {3: 0.25, 5: 0.5 / (1 + math.exp(-1)), 1: 0.5 / (1 + math.exp(1))},
}


def solver_of(policy: str, text: str | None = None) -> Any:
    fields = SOLVERS[policy] if text is None else text
    return text_format.Parse(f'lr_policy: "{policy}" {fields}', caffe_pb2.SolverParameter())


@pytest.mark.parametrize("policy", SOLVERS)
def test_rate_by_hand(policy: str) -> None:
    solver = solver_of(policy)
    rates = {iteration: learning_rate(solver, iteration) for iteration in BY_HAND[policy]}
    assert rates == pytest.approx(BY_HAND[policy], rel=1e-12)


@pytest.mark.parametrize(("gamma", "rate"), [(1, 0.5), (-1, 0.0)])
def test_sigmoid_far_from_its_middle_neither_overflows_nor_fails(gamma: int, rate: float) -> None:
    solver = solver_of("sigmoid", f"base_lr: 0.5 gamma: {gamma} stepsize: 10")
    assert learning_rate(solver, 5000) == pytest.approx(rate)


def test_steps_pass_one_an_iteration_and_in_the_order_given() -> None:
    assert [steps_passed([3, 1, 1], iteration) for iteration in range(7)] == [0, 0, 0, 1, 2, 3, 3]
    assert [steps_passed([0], 0), steps_passed([], 9)] == [1, 0]


def test_unknown_policy_is_named_with_what_is_near() -> None:
    with pytest.raises(ToolError, match="lr_policy 'stepp'; did you mean 'step'"):
        learning_rate(solver_of("stepp", "base_lr: 1"), 0)


@pytest.mark.parametrize(("policy", "field"), [("step", "stepsize"), ("poly", "max_iter")])
def test_division_by_zero_is_refused(policy: str, field: str) -> None:
    with pytest.raises(ToolError, match=f"needs {field} of at least 1, found 0"):
        learning_rate(solver_of(policy, "base_lr: 1"), 0)


@pytest.mark.parametrize(
    ("policy", "text", "missing"),
    [
        ("fixed", "gamma: 1", "base_lr"),
        ("step", "base_lr: 1 stepsize: 5", "gamma"),
        ("multistep", "base_lr: 1 gamma: 0.1", "stepvalue"),
        ("inv", "base_lr: 1 gamma: 0.1", "power"),
    ],
)
def test_field_that_the_policy_needs_is_named(policy: str, text: str, missing: str) -> None:
    with pytest.raises(ToolError, match=f"needs {missing}, which is not set"):
        require_fields(solver_of(policy, text))


@pytest.mark.parametrize("policy", SOLVERS)
def test_complete_solvers_lack_nothing(policy: str) -> None:
    require_fields(solver_of(policy))


NET = """
layer { name: "data" type: "DummyData" top: "x" top: "y"
        dummy_data_param { shape { dim: 2 dim: 3 } shape { dim: 2 dim: 1 } } }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip"
        inner_product_param { num_output: 1 } }
layer { name: "loss" type: "EuclideanLoss" bottom: "ip" bottom: "y" }
"""


@pytest.mark.oracle
def test_rates_are_those_that_bvlc_logs(bvlc: bvlc_build.Build) -> None:
    with bvlc.workplace({"net.prototxt": NET}) as place:
        for policy, fields in SOLVERS.items():
            limit = "" if "max_iter" in fields else "max_iter: 10"
            text = (
                f'net: "net.prototxt" lr_policy: "{policy}" {fields} {limit} display: 1 '
                "solver_mode: CPU snapshot_after_train: false"
            )
            place.put("solver.prototxt", text)
            log = place.run(
                ["caffe", "train", "--solver=solver.prototxt"],
                environment={"GLOG_minloglevel": "0"},
            ).stderr
            logged = [float(rate) for rate in re.findall(r"Iteration \d+, lr = (\S+)", log)]
            ours = [learning_rate(solver_of(policy), iteration) for iteration in range(10)]
            # The log has six digits.
            assert logged == pytest.approx(ours, rel=1e-5), policy
