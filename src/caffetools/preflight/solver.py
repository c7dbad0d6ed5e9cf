"""What the solver says, by itself and of its net."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import caffe
from caffetools import prototxt
from caffetools.cli import ToolError
from caffetools.preflight.finding import ERROR, NOTE, WARNING, Finding
from caffetools.prototxt import TEST, TRAIN, phase_view
from caffetools.schedule import learning_rate, require_fields
from caffetools.suggest import did_you_mean

# The schema numbers the fields of forks from here on (docs/decisions/0007-fields-of-the-forks.md),
# and what only Recaffe has from there on (0013-shuffling-and-augmentation.md).
_FORKS_FROM, _OWN_FROM = 500_000_000, 530_000_000


def read_net(solver_file: Path, solver: Any) -> tuple[Path, Any]:
    """The path and the NetParameter of the solver's ``net:``.

    Raises :class:`ToolError` where there is none, or it is no net.
    """
    if not solver.net:
        raise ToolError(
            f"{solver_file}: expected `net:` with the train_val.prototxt, found none"
            + (", but train_net; write both phases into one file" if solver.train_net else "")
        )
    path = Path(solver.net)
    if not path.is_file():
        raise ToolError(
            f"{solver_file}: net: {str(path)!r} is no file, seen from {Path.cwd().name}/, where "
            "Caffe runs; write the path as seen from there"
        )
    try:
        net = prototxt.read_net(path)
    except ToolError as error:
        if _is_solver(path):
            raise ToolError(
                f"{solver_file}: net: {str(path)!r} is no net but a solver; name the "
                "train_val.prototxt"
            ) from error
        raise
    if not net.layer:
        raise ToolError(f"{solver_file}: net: {str(path)!r} is no net: expected layers, found none")
    return path, net


def _is_solver(path: Path) -> bool:
    try:
        prototxt.read_solver(path)
    except ToolError:
        return False
    return True


def layer_types(net: Any, place: str) -> Iterator[Finding]:
    """Layers of a type that this Caffe does not have."""
    known = set(caffe.layer_type_list())
    for layer in net.layer:
        if layer.type not in known:
            yield Finding(
                ERROR, "layer-type", f"{place}: layer {layer.name!r}",
                f"no layer type {layer.type!r}{did_you_mean(layer.type, known)}",
                "correct the type, or take a Caffe that has it",
            )  # fmt: skip


def foreign_fields(net: Any, place: str) -> Iterator[Finding]:
    """Fields that forks of Caffe have, or Recaffe, and Caffe itself has not."""
    for layer in net.layer:
        fields = dict(_foreign(layer))
        own = [name for name, number in fields.items() if number >= _OWN_FROM]
        forks = [name for name in fields if name not in own]
        if forks:
            yield Finding(
                WARNING, "foreign-field", f"{place}: layer {layer.name!r}",
                f"{', '.join(forks)}: of a fork of Caffe; BVLC's build, OpenCV and tool chains may "
                "refuse the net for it",
                "leave it out, unless you know who will read the net",
            )  # fmt: skip
        if own:
            yield Finding(
                NOTE, "own-field", f"{place}: layer {layer.name!r}",
                f"{', '.join(own)}: Recaffe's own; BVLC's build refuses this train_val.prototxt "
                "for it, while weights and deploy.prototxt have nothing of it",
                "leave it out if another Caffe is to train this net",
            )  # fmt: skip


def _foreign(message: Any) -> Iterator[tuple[str, int]]:
    for field, value in message.ListFields():
        if field.number >= _FORKS_FROM:
            yield field.name, field.number
        elif field.message_type is not None:
            for each in value if hasattr(value, "append") else [value]:
                yield from _foreign(each)


def phases(net: Any, place: str) -> Iterator[Finding]:
    """Layers that are tested and never trained, such as a head renamed in one phase alone."""
    trained = {layer.name for layer in phase_view(net, TRAIN) if prototxt.learnable_blobs(layer)}
    for layer in phase_view(net, TEST):
        if prototxt.learnable_blobs(layer) and layer.name not in trained:
            near = did_you_mean(layer.name, trained).rstrip(".")
            yield Finding(
                ERROR, "phases", f"{place}: layer {layer.name!r}",
                f"phase TEST has it and phase TRAIN does not{near}; so what it tests is never "
                "trained",
                "give the layer one name in both phases",
            )  # fmt: skip
    if not any(prototxt.is_loss(layer) for layer in phase_view(net, TRAIN)):
        yield Finding(
            ERROR, "phases", place, "no layer of phase TRAIN is a loss: nothing would be learned",
            "add one, such as SoftmaxWithLoss, or see its include rules",
        )  # fmt: skip


def fields(solver: Any, place: str) -> Iterator[Finding]:
    """Settings of the solver that stop a training, or do nothing."""
    yield from _rates(solver, place)
    if solver.max_iter < 1:
        yield Finding(ERROR, "solver", place, f"max_iter is {solver.max_iter}: nothing is trained",
                      "set max_iter")  # fmt: skip
    if not 0 <= solver.momentum < 1:
        yield Finding(
            ERROR, "solver", place,
            f"momentum is {solver.momentum:g}, expected from 0 to below 1: updates would grow "
            "without end",
            "set momentum, such as 0.9",
        )  # fmt: skip
    if not solver.snapshot:
        yield Finding(
            WARNING, "solver", place,
            "snapshot is 0: a training that is stopped starts anew",
            "set snapshot to a number of iterations",
        )  # fmt: skip


def _rates(solver: Any, place: str) -> Iterator[Finding]:
    try:
        require_fields(solver)
        learning_rate(solver, 0)
    except ToolError as error:
        yield Finding(ERROR, "lr-policy", place, str(error), "set it in the solver")
        return
    if not solver.base_lr > 0:
        yield Finding(
            ERROR, "lr-policy", place, f"base_lr is {solver.base_lr:g}: nothing is learned",
            "set base_lr above 0",
        )  # fmt: skip
    steps = list(solver.stepvalue) if solver.lr_policy == "multistep" else []
    if steps != sorted(steps):
        yield Finding(
            WARNING, "lr-policy", place,
            f"stepvalue {steps} does not ascend: Caffe takes them in the order given, each after "
            "the one before it",
            "sort them",
        )  # fmt: skip
    first = steps[0] if steps else solver.stepsize if solver.lr_policy == "step" else 0
    if first >= solver.max_iter > 0:
        yield Finding(
            WARNING, "lr-policy", place,
            f"the learning rate first falls at iteration {first}, and training ends at max_iter "
            f"{solver.max_iter}",
            'shorten the steps, or say lr_policy: "fixed"',
        )  # fmt: skip


def test_iterations(solver: Any, net: Any, place: str, entries: int) -> Iterator[Finding]:
    """Tests that leave entries out, or count some twice."""
    if not solver.test_iter:
        yield Finding(
            WARNING, "test-iter", place,
            "no test_iter: nothing is tested while training, so nobody sees it overfit",
            "set test_iter and test_interval",
        )  # fmt: skip
        return
    sizes = [layer.data_param.batch_size for layer in phase_view(net, TEST) if layer.type == "Data"]
    if len(sizes) != 1 or not sizes[0]:
        return
    seen = solver.test_iter[0] * sizes[0]
    needed = math.ceil(entries / sizes[0])
    if seen < entries:
        yield Finding(
            WARNING, "test-iter", place,
            f"a test takes {solver.test_iter[0]} batches of {sizes[0]}, {seen} of the {entries} "
            "entries; each test goes on where the last one ended, so tests differ by their images",
            f"set test_iter: {needed}",
        )  # fmt: skip
    elif solver.test_iter[0] > needed:
        yield Finding(
            WARNING, "test-iter", place,
            f"a test takes {seen} entries of {entries}, so it counts some more often than others",
            f"set test_iter: {needed}",
        )  # fmt: skip
    elif seen > entries:
        yield Finding(
            NOTE, "test-iter", place,
            f"batches of {sizes[0]} do not make {entries} entries: each test counts "
            f"{seen - entries} of them twice",
        )  # fmt: skip
