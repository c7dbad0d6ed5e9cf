"""Solvers that train together: one on twice the batch, whoever starts, stops or dies."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import together
from recipes import write_lmdb
from small_solvers import make

import caffe
from recaffe.context import context
from recaffe.errors import SolverError, SolverLostError
from recaffe.net import Net
from recaffe.proto.text import read_solver
from recaffe.solver import Action, link, make_solver
from recaffe.solver.link import Link

RECORDS = 11
NET = """
name: "digits"
layer { name: "data" type: "Data" top: "data" top: "label"
  data_param { source: "db" batch_size: BATCH backend: LMDB } transform_param { scale: 0.01 } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" CONV
  convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "ip" type: "InnerProduct" bottom: "conv" top: "ip"
  inner_product_param { num_output: 3 weight_filler { type: "gaussian" std: 0.1 } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""
SOLVERS = {
    "SGD": 'type: "SGD" base_lr: 0.1 momentum: 0.9 weight_decay: 0.01',
    "Adam": 'type: "Adam" base_lr: 0.01 momentum: 0.9 momentum2: 0.99 delta: 0.001',
}
REST = 'net: "net.prototxt" lr_policy: "fixed" random_seed: 5 max_iter: 9 snapshot_prefix: "s" '


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(3)
    images = random.integers(0, 256, (RECORDS, 1, 6, 6), dtype=np.uint8)
    write_lmdb(Path("db"), images, random.integers(0, 3, RECORDS))


def write(batch: int, settings: str = SOLVERS["SGD"], conv: str = "") -> None:
    Path("net.prototxt").write_text(NET.replace("BATCH", str(batch)).replace("CONV", conv))
    Path("solver.prototxt").write_text(REST + settings)


def parameters(solver: Any) -> list[np.ndarray]:
    return [blob.data.copy() for blobs in solver.net.params.values() for blob in blobs]


def joined(uid: str) -> caffe.SGDSolver:
    """As BVLC's python/train.py does it."""
    caffe.set_multiprocess(True)
    solver = caffe.get_solver("solver.prototxt")
    nccl = caffe.NCCL(solver, uid)
    nccl.bcast()
    solver.add_callback(nccl)
    if solver.param.layer_wise_reduce:
        solver.net.after_backward(nccl)
    return solver


def assert_close(found: list[np.ndarray], expected: list[np.ndarray]) -> None:
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=2e-6)


# -- the numbers ------------------------------------------------------------------------------


def _train(uid: str, steps: int) -> list[np.ndarray]:
    solver = joined(uid)
    solver.step(steps)
    return parameters(solver)


@pytest.mark.parametrize("iter_size", [1, 2])
@pytest.mark.parametrize("kind", SOLVERS)
def test_two_solvers_train_as_one_does_on_twice_the_batch(kind, iter_size):
    settings = f"{SOLVERS[kind]} iter_size: {iter_size}"
    write(4, settings)
    first, second = together.values(together.run(_train, caffe.NCCL.new_uid(), 6))
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)
    write(8, settings)
    alone = caffe.get_solver("solver.prototxt")
    start = parameters(alone)
    alone.step(6)
    assert_close(first, parameters(alone))
    assert all(abs(one - other).max() > 1e-3 for one, other in zip(first, start, strict=True))


def test_three_solvers_send_their_gradients_in_parts(monkeypatch):
    settings = f"{SOLVERS['SGD']} clip_gradients: 0.5"
    write(2, settings)
    results = together.values(together.run(_train_in_parts, caffe.NCCL.new_uid(), count=3))
    write(6, settings)
    alone = caffe.get_solver("solver.prototxt")
    alone.step(4)
    for found in results:
        assert_close(found, parameters(alone))
        np.testing.assert_array_equal(found[0], results[0][0])


def _train_in_parts(uid: str) -> list[np.ndarray]:
    link.BLOCK = 10
    return _train(uid, 4)


def test_parts_hold_every_tensor_once_in_order():
    import torch

    for block, sizes in ((10, [1, 2, 30, 4, 5, 6]), (1, [3, 3]), (100, [1, 2]), (1, [])):
        tensors = [torch.full((size,), float(size)) for size in sizes]
        before, link.BLOCK = link.BLOCK, block
        try:
            parts = link._parts(tensors)
        finally:
            link.BLOCK = before
        assert [len(tensor) for part in parts for tensor in part] == sizes
        assert all(sum(len(t) for t in part[:-1]) < block for part in parts)


def _what_is_sent(uid: str) -> tuple[list[int], list[bool]]:
    solver = joined(uid)
    sent: list[int] = []
    reduce = link.dist.all_reduce
    link.dist.all_reduce = lambda flat, **_: (sent.append(flat.numel()), reduce(flat, **_))[1]
    kept: list[bool] = []
    forward_backward = Net.forward_backward

    def watched(net: Net, keep: bool = True) -> float:
        kept.append(keep)
        return forward_backward(net, keep)

    Net.forward_backward = watched  # type: ignore[method-assign]
    solver.step(3)
    return sent, kept


def test_frozen_parameters_are_not_sent_and_no_blob_is_kept():
    write(4, conv="param { lr_mult: 0 } param { lr_mult: 0 }")
    head = 3 * 4 * 4 * 4 + 3
    for sent, kept in together.values(together.run(_what_is_sent, caffe.NCCL.new_uid())):
        assert sent == [head] * 3  # one message an update
        assert kept == [False, False, True]


def _starts(uid: str) -> list[list[np.ndarray]]:
    solver = caffe.get_solver("solver.prototxt")
    view = solver.net.params["ip"][0].data
    before = parameters(solver)
    caffe.NCCL(solver, uid).bcast()
    assert np.shares_memory(view, solver.net.params["ip"][0].data)
    return [before, parameters(solver)]


def test_all_start_from_the_parameters_of_rank_0():
    write(4)
    (own, root), (other, told) = together.values(together.run(_starts, caffe.NCCL.new_uid()))
    assert not np.array_equal(own[0], other[0])
    for one, two, three in zip(own, root, told, strict=True):
        np.testing.assert_array_equal(one, two)
        np.testing.assert_array_equal(one, three)


def _go_on(uid: str, state: str) -> tuple[int, list[np.ndarray]]:
    solver = caffe.get_solver("solver.prototxt")
    solver.restore(state)
    solver.add_callback(caffe.NCCL(solver, uid))
    solver.step(3)
    return solver.iter, parameters(solver)


def test_all_go_on_from_a_snapshot():
    write(8)
    alone = caffe.get_solver("solver.prototxt")
    alone.step(RECORDS)  # so that the records of a new reader are those that follow
    alone.snapshot()
    write(4)
    state = f"s_iter_{RECORDS}.solverstate"
    results = together.values(together.run(_go_on, caffe.NCCL.new_uid(), state))
    alone.step(3)
    for iteration, found in results:
        assert iteration == RECORDS + 3
        assert_close(found, parameters(alone))


# -- who stops, dies or does not come ---------------------------------------------------------


def _stop_at(uid: str, asked: dict[int, list[Action]]) -> int:
    """Ask rank 0 at these iterations; nothing of the others."""
    solver = make_solver(read_solver("solver.prototxt"))
    own = Link(solver, uid)
    own.join()

    def action() -> Action:
        waiting = asked.get(solver.iteration, [])
        return waiting.pop(0) if waiting else Action.NONE

    solver.action = action if context.is_root_solver else None
    solver.agree = own.agree
    solver.step(9)
    return solver.iteration


def test_what_the_root_is_asked_for_holds_for_all():
    write(4, f"{SOLVERS['SGD']} test_iter: 1 test_interval: 2")
    asked = {2: [Action.SNAPSHOT], 4: [Action.SNAPSHOT, Action.STOP]}
    assert together.run(_stop_at, caffe.NCCL.new_uid(), asked) == [4, 4]
    written = sorted(path.name for path in Path().glob("s_*.solverstate"))
    assert written == ["s_iter_2.solverstate", "s_iter_4.solverstate"]


def test_a_stop_in_the_middle_of_a_test_holds_for_all():
    write(4, f"{SOLVERS['SGD']} test_iter: 3 test_interval: 2")
    nothing = [Action.NONE] * 3
    # At iteration 2 it is asked after the update, then before each pass of the test.
    asked = {2: [*nothing, Action.SNAPSHOT, Action.STOP]}
    assert together.run(_stop_at, caffe.NCCL.new_uid(), asked) == [2, 2]
    assert [path.name for path in Path().glob("s_*.solverstate")] == ["s_iter_2.solverstate"]


def test_a_stop_at_the_last_iteration_leaves_no_one_waiting():
    write(4)
    assert together.run(_stop_at, caffe.NCCL.new_uid(), {9: [Action.STOP]}) == [9, 9]


def _die(uid: str) -> None:
    solver = joined(uid)
    solver.step(2)
    if context.solver_rank == 1:
        os._exit(7)
    solver.step(1000)


def test_whoever_loses_another_is_told():
    write(4)
    # Without word of the other one would wait for a day.
    first, second = together.run(_die, caffe.NCCL.new_uid(), seconds=120)
    assert isinstance(first, SolverLostError)
    assert "solver 0 of 2 lost the others" in str(first)
    assert second == 7


@pytest.fixture
def two_solvers():
    context.solver_count = 2
    yield
    context.solver_count, context.solver_rank = 1, 0


def test_others_that_do_not_come_are_not_waited_for_forever(two_solvers):
    with pytest.raises(SolverLostError, match=r"solver 0 of 2 has waited .* for 0\.1 s: start a"):
        Link(make(""), caffe.NCCL.new_uid(), timedelta(seconds=0.1))


def _other_nets(uid: str) -> None:
    Link(make("", specs="inner_product_param { bias_term: RANK }".replace(
        "RANK", "false" if context.solver_rank else "true")), uid)  # fmt: skip


def test_another_net_is_refused(tmp_path):
    first, second = together.run(_other_nets, str(tmp_path / "uid"))
    for error in (first, second):
        assert isinstance(error, SolverError)
        assert "solver 1 has parameters of other shapes than solver 0, [(1, 2)] " in str(error)


def test_ranks_and_places_that_cannot_be_are_refused(two_solvers):
    solver = make("")
    with pytest.raises(SolverError, match=r"no place to meet: expected what caffe\.NCCL\.new_uid"):
        Link(solver, "/no/such/folder/uid")
    context.solver_rank = 2
    with pytest.raises(SolverError, match="solver_rank is 2 where solver_count is 2"):
        Link(solver, caffe.NCCL.new_uid())


# -- pycaffe's class --------------------------------------------------------------------------


@pytest.fixture
def alone():
    write(4)
    solver = caffe.get_solver("solver.prototxt")
    nccl = caffe.NCCL(solver, caffe.NCCL.new_uid())
    yield solver, nccl
    nccl._link.close()


def test_a_solver_alone_can_be_joined_too(alone):
    solver, nccl = alone
    nccl.bcast()
    solver.add_callback(nccl)
    solver.net.after_backward(nccl)
    solver.step(3)
    other = caffe.get_solver("solver.prototxt")
    other.step(3)
    assert_close(parameters(solver), parameters(other))
    with pytest.raises(SolverError, match="joined a solver already"):
        caffe.NCCL(other, caffe.NCCL.new_uid())
    with pytest.raises(ValueError, match="joins another solver"):
        other.add_callback(nccl)


def test_callbacks_are_two_functions_or_an_nccl(alone):
    solver, nccl = alone
    calls: list[str] = []
    wrong: list[tuple[Callable[[], Any] | caffe.NCCL, ...]] = [(print,), (nccl, print)]
    for arguments in wrong:
        with pytest.raises(TypeError, match="on_start and on_gradients_ready, or an NCCL alone"):
            solver.add_callback(*arguments)
    solver.add_callback(lambda: calls.append("start"), lambda: calls.append("ready"))
    solver.add_callback(nccl)
    solver.step(2)
    assert calls == ["start", "ready"] * 2


def test_each_uid_is_another():
    one, other = caffe.NCCL.new_uid(), caffe.NCCL.new_uid()
    assert one != other
    assert isinstance(one, str)
