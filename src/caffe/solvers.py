"""caffe.get_solver and the solver classes, as pycaffe users know them."""

from __future__ import annotations

from pathlib import Path

from caffe.net import Net
from recaffe import solver as runtime
from recaffe.errors import SolverError
from recaffe.proto.text import read_solver


class _PySolver(runtime.Solver):
    """What pycaffe adds to a solver of the runtime."""

    net: Net
    test_nets: list[Net]  # type: ignore[assignment]

    def __init__(self, solver_file: str | Path) -> None:
        super().__init__(read_solver(solver_file), Net.from_param)

    @property
    def iter(self) -> int:
        """How many updates were made."""
        return self.iteration


class SGDSolver(_PySolver, runtime.SGDSolver):
    """Stochastic gradient descent with momentum, from a solver prototxt."""


_CLASSES = {cls.type: cls for cls in (SGDSolver,)}


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
