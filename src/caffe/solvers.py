"""caffe.get_solver and the solver classes, as pycaffe users know them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from caffe.hooks import HookedNet
from caffe.nccl import NCCL
from caffe.net import FileName, Net, shown
from recaffe.errors import SolverError
from recaffe.proto.text import read_solver
from recaffe.solver import Solver as RuntimeSolver
from recaffe.solver import adadelta, adagrad, adam, nesterov, rmsprop, sgd
from recaffe.solver.snapshots import with_snapshot_prefix


class Solver:
    """Trains a net as a solver prototxt says; each class has its rule, whatever the file's is.

    It holds a solver of the runtime and has pycaffe's names alone, so that users may set what
    they like on it; see docs/decisions/0010-faces-that-hold.md.
    """

    _rule: ClassVar[type[RuntimeSolver]]

    def __init__(self, solver_file: FileName) -> None:
        name = os.fsdecode(solver_file)
        param = with_snapshot_prefix(read_solver(name), name)
        self._runtime = self._rule(param, HookedNet)
        nets: Any = [self._runtime.net, *self._runtime.test_nets]  # which HookedNet made
        self._nets = [shown(net) for net in nets]

    @property
    def net(self) -> Net:
        """The net that is trained."""
        return self._nets[0]

    @property
    def test_nets(self) -> list[Net]:
        """The nets it is tested with."""
        return self._nets[1:]

    @property
    def param(self) -> Any:
        """The SolverParameter."""
        return self._runtime.param

    @property
    def iter(self) -> int:
        """How many updates were made."""
        return self._runtime.iteration

    @property
    def lr(self) -> float:
        """The rate of the next update."""
        return self._runtime.learning_rate

    def step(self, iterations: int) -> None:
        """Make ``iterations`` updates, with the tests and snapshots that fall due."""
        self._runtime.step(iterations)

    def step_unseen(self, iterations: int) -> None:
        """Like ``step``, for whoever looks at no blobs after it but parameters and outputs.

        Not one of pycaffe's names. It keeps less, and is what ``caffe.set_precision`` and
        ``caffe.set_compiled`` work on.
        """
        self._runtime.step(iterations, keep_last=False)

    def solve(self, resume_file: FileName | None = None) -> None:
        """Train up to ``max_iter``, going on from a solver state if one is given."""
        if resume_file is not None:
            self.restore(resume_file)
        self._runtime.solve()

    def apply_update(self) -> None:
        """Update the parameters from their diffs, which then hold what was subtracted."""
        self._runtime.apply_update()

    def add_callback(
        self,
        on_start: Callable[[], Any] | NCCL,
        on_gradients_ready: Callable[[], Any] | None = None,
    ) -> None:
        """Call functions in each iteration of :meth:`step`, or let an NCCL join the solver.

        Args:
            on_start: called before the forward pass, when the parameters' diffs are zero; or an
                NCCL alone.
            on_gradients_ready: called after the backward pass, before the update.
        """
        if isinstance(on_start, NCCL) and on_gradients_ready is None:
            on_start.add_to(self)
        elif isinstance(on_start, NCCL) or on_gradients_ready is None:
            raise TypeError("add_callback takes on_start and on_gradients_ready, or an NCCL alone")
        else:
            self._runtime.add_callback(on_start, on_gradients_ready)

    def add_unseeing_callback(
        self, on_start: Callable[[], Any], on_gradients_ready: Callable[[], Any]
    ) -> None:
        """Like ``add_callback``, for functions that look at no blobs but parameters.

        Not one of pycaffe's names. :meth:`step_unseen` goes on keeping less.
        """
        self._runtime.add_callback(on_start, on_gradients_ready, looks=False)

    def snapshot(self) -> tuple[Path, Path]:
        """Write weights and state under ``snapshot_prefix``; return their paths."""
        return self._runtime.snapshot()

    def restore(self, state_file: FileName) -> None:
        """Go on from a solver state, ours or BVLC's, and the weights that it names.

        Raises:
            CaffeError: not a whole solver state, or one that does not fit.
        """
        self._runtime.restore(os.fsdecode(state_file))

    def share_weights(self, net: Net) -> None:
        """Let ``net`` use the parameters of the net that is trained."""
        net.share_with(self.net)


class SGDSolver(Solver):
    """Stochastic gradient descent with momentum."""

    _rule: ClassVar[type[RuntimeSolver]] = sgd.SGDSolver


# As in BVLC's build, each of the others is an SGDSolver as well.


class NesterovSolver(SGDSolver):
    """Nesterov's accelerated gradient."""

    _rule = nesterov.NesterovSolver


class AdaGradSolver(SGDSolver):
    """AdaGrad."""

    _rule = adagrad.AdaGradSolver


class RMSPropSolver(SGDSolver):
    """RMSProp."""

    _rule = rmsprop.RMSPropSolver


class AdaDeltaSolver(SGDSolver):
    """AdaDelta."""

    _rule = adadelta.AdaDeltaSolver


class AdamSolver(SGDSolver):
    """Adam."""

    _rule = adam.AdamSolver


_EVERY: list[type[Solver]] = [SGDSolver, *SGDSolver.__subclasses__()]
_CLASSES = {cls._rule.type: cls for cls in _EVERY}


def get_solver(solver_file: FileName) -> Solver:
    """The solver that the prototxt describes: its class follows from ``type``.

    Raises:
        CaffeError: a type that is not known.
    """
    name = os.fsdecode(solver_file)
    solver_type = read_solver(name).type
    if solver_type not in _CLASSES:
        raise SolverError(
            f"{name}: solver type '{solver_type}' is not known; "
            f"known: {', '.join(sorted(_CLASSES))}"
        )
    return _CLASSES[solver_type](name)
