"""How a solver's type finds its class."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from recaffe.errors import SolverError
from recaffe.net import Net
from recaffe.solver.solver import MakeNet, Solver

AnySolver = TypeVar("AnySolver", bound=type[Solver])
_SOLVERS: dict[str, type[Solver]] = {}


def register(name: str) -> Callable[[AnySolver], AnySolver]:
    """Register a class as the solver of ``type: "name"``."""

    def add(cls: AnySolver) -> AnySolver:
        if name in _SOLVERS:
            raise ValueError(f"two solvers are registered as '{name}'")
        cls.type = name
        _SOLVERS[name] = cls
        return cls

    return add


def solver_types() -> list[str]:
    """The registered types, sorted."""
    return sorted(_SOLVERS)


def solver_class(name: str) -> type[Solver]:
    """The class registered as ``name``.

    Raises:
        SolverError: no such type.
    """
    if name not in _SOLVERS:
        raise SolverError(f"solver type '{name}' is not known; known: {', '.join(solver_types())}")
    return _SOLVERS[name]


def make_solver(param: Any, make_net: MakeNet = Net) -> Solver:
    """The solver that the SolverParameter describes, by its ``type``."""
    return solver_class(param.type)(param, make_net)
