"""Solvers: learning rate policies, update rules, the training loop, snapshots.

An update rule is a file of this package with a class that :func:`register` names; every
file is found and loaded.
"""

import pkgutil
from importlib import import_module

from recaffe.solver.registry import make_solver, register, solver_class, solver_types
from recaffe.solver.solver import Action, Solver

for _module in pkgutil.iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")

__all__ = ["Action", "Solver", "make_solver", "register", "solver_class", "solver_types"]
