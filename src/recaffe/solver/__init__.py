"""Solvers: learning rate policies, update rules, the training loop, snapshots."""

from recaffe.solver.sgd import SGDSolver
from recaffe.solver.solver import Solver

__all__ = ["SGDSolver", "Solver"]
