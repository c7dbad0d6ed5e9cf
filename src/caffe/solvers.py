"""caffe.get_solver and the solver classes, as pycaffe users know them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from caffe.nccl import NCCL
from caffe.net import Net
from recaffe.errors import SolverError
from recaffe.proto.text import read_solver
from recaffe.solver import Solver, adadelta, adagrad, adam, nesterov, rmsprop, sgd
from recaffe.solver.snapshots import with_snapshot_prefix


class _PySolver(Solver):
    """What pycaffe adds to a solver of the runtime: it comes from a solver prototxt."""

    net: Net
    test_nets: list[Net]  # type: ignore[assignment]

    def __init__(self, solver_file: str | Path) -> None:
        super().__init__(_read(solver_file), Net.from_param)

    def solve(self, resume_file: str | Path | None = None) -> None:
        """Train up to ``max_iter``, going on from a solver state if one is given."""
        if resume_file is not None:
            self.restore(resume_file)
        super().solve()

    def add_callback(
        self,
        on_start: Callable[[], Any] | NCCL,
        on_gradients_ready: Callable[[], Any] | None = None,
        looks: bool = True,
    ) -> None:
        """``add_callback(on_start, on_gradients_ready)``, or ``add_callback(nccl)``."""
        if isinstance(on_start, NCCL) and on_gradients_ready is None:
            on_start.add_to(self)
        elif isinstance(on_start, NCCL) or on_gradients_ready is None:
            raise TypeError("add_callback takes on_start and on_gradients_ready, or an NCCL alone")
        else:
            super().add_callback(on_start, on_gradients_ready, looks)

    def share_weights(self, net: Net) -> None:
        """Let ``net`` use the parameters of the net that is trained."""
        net.share_with(self.net)

    @property
    def iter(self) -> int:
        """How many updates were made."""
        return self.iteration

    def step_unseen(self, iterations: int) -> None:
        """Like ``step``, for whoever looks at no blobs after it but parameters and outputs.

        Not one of pycaffe's names. It keeps less, and is what ``caffe.set_precision`` and
        ``caffe.set_compiled`` work on.
        """
        self.step(iterations, keep_last=False)

    @property
    def lr(self) -> float:
        """The rate of the next update."""
        return self.learning_rate


class SGDSolver(_PySolver, sgd.SGDSolver):
    """Stochastic gradient descent with momentum."""


class NesterovSolver(_PySolver, nesterov.NesterovSolver):
    """Nesterov's accelerated gradient."""


class AdaGradSolver(_PySolver, adagrad.AdaGradSolver):
    """AdaGrad."""


class RMSPropSolver(_PySolver, rmsprop.RMSPropSolver):
    """RMSProp."""


class AdaDeltaSolver(_PySolver, adadelta.AdaDeltaSolver):
    """AdaDelta."""


class AdamSolver(_PySolver, adam.AdamSolver):
    """Adam."""


_CLASSES: dict[str, type[_PySolver]] = {cls.type: cls for cls in _PySolver.__subclasses__()}


def _read(solver_file: str | Path) -> Any:
    return with_snapshot_prefix(read_solver(solver_file), solver_file)


def get_solver(solver_file: str | Path) -> _PySolver:
    """The solver that the prototxt describes: its class follows from ``type``.

    Raises:
        CaffeError: a type that is not known.
    """
    solver_type = read_solver(solver_file).type
    if solver_type not in _CLASSES:
        raise SolverError(
            f"{solver_file}: solver type '{solver_type}' is not known; "
            f"known: {', '.join(sorted(_CLASSES))}"
        )
    return _CLASSES[solver_type](solver_file)
