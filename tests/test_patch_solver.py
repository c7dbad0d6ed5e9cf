"""Setting a solver's fields: what may be set, to what, and what Caffe makes of it."""

from __future__ import annotations

import re
from typing import Any

import bvlc as bvlc_build
import pytest
from google.protobuf import text_format

from caffe.proto import caffe_pb2
from caffetools.cli import ToolError
from caffetools.prototxt import to_text
from caffetools.solver import patch_solver

SOLVER = """
train_net: "train.prototxt" test_net: "a" test_net: "b" test_iter: 3 test_iter: 4
base_lr: 0.01 lr_policy: "step" gamma: 0.1 stepsize: 1000 max_iter: 5000 snapshot_prefix: "p"
solver_mode: GPU solver_type: ADAGRAD
"""
FIELDS = {
    "base_lr": 0.001,
    "max_iter": 20,
    "lr_policy": "multistep",
    "stepsize": None,
    "stepvalue": [5, 15],
    "test_iter": 7,
    "test_initialization": False,
    "type": "Nesterov",
    "solver_mode": "CPU",
    "random_seed": 2**40,
}
PATCHED = """
net: "out/train_val.prototxt" test_iter: 7 test_initialization: false base_lr: 0.001
max_iter: 20 lr_policy: "multistep" gamma: 0.1 stepvalue: 5 stepvalue: 15
snapshot_prefix: "p" solver_mode: CPU random_seed: 1099511627776 type: "Nesterov"
"""


def solver_of(text: str) -> Any:
    return text_format.Parse(text, caffe_pb2.SolverParameter())


def test_fields_are_set_removed_and_the_net_is_named_once() -> None:
    solver = solver_of(SOLVER)
    patched = patch_solver(solver, FIELDS, "out/train_val.prototxt")
    assert to_text(patched) == to_text(solver_of(PATCHED))
    assert solver == solver_of(SOLVER)


def test_without_fields_only_the_net_changes() -> None:
    text = 'base_lr: 0.01 lr_policy: "fixed" net: '
    assert patch_solver(solver_of(f'{text} "a"'), {}, "b") == solver_of(f'{text} "b"')


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"base_rl": 1},
            "solver.base_rl is no scalar field of Caffe's solver; did you mean 'base_lr'",
        ),
        ({"train_state": {}}, "solver.train_state is no scalar field"),
        ({"net": "x"}, "solver.net is not for the settings: the path of the patched net"),
        ({"snapshot_prefix": "x"}, "the trainer sets it"),
        ({"solver_type": "ADAM"}, "it is the old name of type"),
        ({"base_lr": "1e-3"}, "solver.base_lr is '1e-3'; expected a number (in YAML 1.0e-3"),
        ({"base_lr": True}, "solver.base_lr is True; expected a number"),
        ({"base_lr": float("inf")}, "solver.base_lr is inf; expected a number"),
        ({"max_iter": 10.0}, "solver.max_iter is 10.0; expected an integer"),
        ({"max_iter": [10]}, "solver.max_iter is [10]; expected an integer"),
        ({"max_iter": 2**31}, "solver.max_iter: 2147483648 is out of its range"),
        ({"stepvalue": [5, "x"]}, "solver.stepvalue is 'x'; expected an integer"),
        ({"debug_info": 1}, "solver.debug_info is 1; expected true or false"),
        ({"lr_policy": 3}, "solver.lr_policy is 3; expected a string"),
        ({"solver_mode": "cpu"}, "solver.solver_mode is 'cpu'; expected one of CPU, GPU"),
        ({"lr_policy": "inv"}, "lr_policy 'inv' needs power, which is not set"),
        ({"lr_policy": "pol"}, "Caffe has no lr_policy 'pol'; did you mean 'poly'"),
        ({"stepsize": 0}, "lr_policy 'step' needs stepsize of at least 1, found 0"),
    ],
)
def test_what_cannot_be_set_is_refused_with_the_field(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ToolError, match=re.escape(message)):
        patch_solver(solver_of(SOLVER), fields, "net")


@pytest.mark.oracle
def test_bvlcs_protobuf_takes_the_same_fields(bvlc: bvlc_build.Build) -> None:
    script = (
        "from pathlib import Path\nfrom caffetools import prototxt, solver\n"
        f"patched = solver.patch_solver(prototxt.read_solver(Path('in')), {FIELDS!r},\n"
        "                              'out/train_val.prototxt')\n"
        "prototxt.write(Path('out'), patched)\n"
        "try:\n    solver.patch_solver(patched, {'max_iter': 2**31}, 'net')\n"
        "except solver.ToolError as error:\n    print(error)\n"
    )
    result = bvlc.python(script, files={"in": SOLVER}, fetch=["out"], caffetools=True)
    assert result.files["out"].decode() == to_text(solver_of(PATCHED))
    assert result.stdout.startswith("solver.max_iter: 2147483648 is out of its range")
