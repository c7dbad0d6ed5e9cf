"""Learning rate policies: the rate as a function of the iteration.

Source: ``SGDSolver::GetLearningRate`` in ``sgd_solver.cpp``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from recaffe.errors import SolverError

Policy = Callable[[Any, int], float]
_POLICIES: dict[str, Policy] = {}


def _policy(function: Policy) -> Policy:
    _POLICIES[function.__name__] = function
    return function


def learning_rate(solver: Any, iteration: int) -> float:
    """The rate that the SolverParameter's ``lr_policy`` gives at ``iteration``.

    Raises:
        SolverError: a policy that is not known, or that lacks a parameter.
    """
    if solver.lr_policy not in _POLICIES:
        raise SolverError(
            f"lr_policy '{solver.lr_policy}' is not known; known: {', '.join(sorted(_POLICIES))}"
        )
    return _POLICIES[solver.lr_policy](solver, iteration)


@_policy
def fixed(solver: Any, iteration: int) -> float:
    """``base_lr``"""
    return solver.base_lr


@_policy
def step(solver: Any, iteration: int) -> float:
    """``base_lr gamma^floor(iteration / stepsize)``"""
    if solver.stepsize < 1:
        raise SolverError("lr_policy 'step' needs a stepsize of at least 1")
    return solver.base_lr * solver.gamma ** (iteration // solver.stepsize)


@_policy
def exp(solver: Any, iteration: int) -> float:
    """``base_lr gamma^iteration``"""
    return solver.base_lr * solver.gamma**iteration


@_policy
def inv(solver: Any, iteration: int) -> float:
    """``base_lr (1 + gamma iteration)^-power``"""
    return solver.base_lr * (1 + solver.gamma * iteration) ** -solver.power


@_policy
def multistep(solver: Any, iteration: int) -> float:
    """``base_lr gamma^s`` where ``s`` counts the stepvalues reached"""
    reached = sum(iteration >= value for value in solver.stepvalue)
    return solver.base_lr * solver.gamma**reached


@_policy
def poly(solver: Any, iteration: int) -> float:
    """``base_lr (1 - iteration / max_iter)^power``"""
    return solver.base_lr * (1 - iteration / solver.max_iter) ** solver.power


@_policy
def sigmoid(solver: Any, iteration: int) -> float:
    """``base_lr / (1 + exp(-gamma (iteration - stepsize)))``"""
    return solver.base_lr / (1 + math.exp(-solver.gamma * (iteration - solver.stepsize)))
