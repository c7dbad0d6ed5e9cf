"""How many images an iteration takes."""

from __future__ import annotations

import re
from typing import Any

import pytest
from patch_nets import net_of

from caffe.proto import caffe_pb2
from caffetools.batches import batch_size, images_an_iteration, in_iterations, iter_size
from caffetools.cli import ToolError
from caffetools.prototxt import TEST, TRAIN

# NET has batches of 8 in both phases.


def sizes(**batch: int) -> dict[str, Any]:
    return {"batch_size": batch}


def test_settings_go_before_the_nets_own_batches() -> None:
    assert batch_size(net_of(), TRAIN, {}) == 8
    assert batch_size(net_of(), TRAIN, sizes(train=4)) == 4
    assert batch_size(net_of(), TEST, sizes(train=4)) == 8
    assert batch_size(net_of(), TEST, sizes(val=5)) == 5
    assert batch_size(net_of('layer { name: "x" type: "DummyData" }'), TRAIN, {}) == 1


def test_batches_make_up_the_effective_one() -> None:
    assert iter_size(net_of(), {}) is None
    assert iter_size(net_of(), sizes(train=4)) is None
    assert iter_size(net_of(), sizes(effective=24)) == 3
    assert iter_size(net_of(), sizes(train=6, effective=6)) == 1


def test_batches_that_do_not_fit_the_effective_one_are_told_which_do() -> None:
    with pytest.raises(ToolError, match=r"is 36, which batches of 8 do not .* such as 9"):
        iter_size(net_of(), sizes(effective=36))
    with pytest.raises(ToolError, match=r"multiple of 8, or a batch_size\.train such as 4"):
        iter_size(net_of(), sizes(effective=4))


def test_images_of_an_iteration_are_those_of_all_its_batches() -> None:
    solver = caffe_pb2.SolverParameter(iter_size=2)
    assert images_an_iteration(net_of(), solver, {}) == 16
    assert images_an_iteration(net_of(), solver, {"solver": {"iter_size": 3}}) == 24
    assert images_an_iteration(net_of(), solver, sizes(train=4, effective=40)) == 40


def test_epochs_become_iterations_rounded_up() -> None:
    told = {"max_iter": {"epochs": 2}, "stepvalue": {"epochs": [0.1, 1.5]}, "base_lr": 0.1}
    expected = {"max_iter": 20, "stepvalue": [1, 15], "base_lr": 0.1}
    assert in_iterations(told, 30, 3) == expected
    assert in_iterations({"snapshot": {"epochs": 1}}, 31, 3) == {"snapshot": 11}
    assert in_iterations({"snapshot": {"epochs": 1e-12}}, 31, 3) == {"snapshot": 1}
    # In float64 0.28 * 100 is a little more than 28.
    assert in_iterations({"snapshot": {"epochs": 0.28}}, 100, 1) == {"snapshot": 28}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"base_lr": {"epochs": 1}}, "solver.base_lr is {'epochs': 1}; only max_iter, stepsize"),
        ({"max_iter": {"epoch": 1}}, "solver.max_iter is {'epoch': 1}; expected an integer, or {e"),
        ({"max_iter": {"epochs": 0}}, "solver.max_iter is {'epochs': 0}; expected an integer"),
        ({"max_iter": {"epochs": "1"}}, "solver.max_iter is {'epochs': '1'}; expected an integer"),
        ({"stepvalue": {"epochs": []}}, "solver.stepvalue is {'epochs': []}; expected an int"),
        ({"max_iter": {"epochs": 1, "x": 1}}, "expected an integer"),
    ],
)
def test_what_is_not_told_in_epochs_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ToolError, match=re.escape(message)):
        in_iterations(fields, 30, 3)


def test_iter_size_is_told_once() -> None:
    with pytest.raises(ToolError, match=r"batch_size\.effective and solver\.iter_size both"):
        iter_size(net_of(), {**sizes(effective=16), "solver": {"iter_size": 2}})
