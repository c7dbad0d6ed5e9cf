"""Learning rate policies: the rate as a function of the iteration.

Source: ``SGDSolver::GetLearningRate`` in ``sgd_solver.cpp``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from recaffe.errors import SolverError

Policy = Callable[[Any, int], float]
_POLICIES: dict[str, Policy] = {}
_WITH_GAMMA = ("step", "exp", "inv", "multistep", "sigmoid")


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
    if solver.gamma < 0 and solver.lr_policy in _WITH_GAMMA:
        raise SolverError(
            f"lr_policy '{solver.lr_policy}' needs a gamma of at least 0, found {solver.gamma:g}"
        )
    if solver.stepsize < 1 and solver.lr_policy in ("step", "sigmoid"):
        raise SolverError(f"lr_policy '{solver.lr_policy}' needs a stepsize of at least 1")
    try:
        return _POLICIES[solver.lr_policy](solver, iteration)
    except (OverflowError, ZeroDivisionError):
        # Where C's pow() is infinite Python's raises.
        return math.copysign(math.inf, solver.base_lr)


def current_step(solver: Any, iteration: int) -> int:
    """The ``current_step`` of a solver state at ``iteration``: how often the rate was lowered.

    It is as of the update that led to ``iteration``, and 0 with policies that do not count.
    """
    updated = iteration - 1
    if updated < 0:
        return 0
    if solver.lr_policy == "step":
        return updated // solver.stepsize
    return steps_passed(solver.stepvalue, updated) if solver.lr_policy == "multistep" else 0


def steps_passed(stepvalues: Sequence[int], iteration: int) -> int:
    """How many of ``stepvalues`` the policy multistep has passed at ``iteration``.

    Caffe looks at the next one only, and passes at most one an iteration: a value that is
    not above the one before it takes effect an iteration after that one.
    """
    passed, at = 0, -1
    for value in stepvalues:
        at = max(value, at + 1)
        passed += at <= iteration
    return passed


@_policy
def fixed(solver: Any, iteration: int) -> float:
    """``base_lr``"""
    return solver.base_lr


@_policy
def step(solver: Any, iteration: int) -> float:
    """``base_lr gamma^floor(iteration / stepsize)``"""
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
    """``base_lr gamma^s`` where ``s`` counts the stepvalues passed"""
    return solver.base_lr * solver.gamma ** steps_passed(solver.stepvalue, iteration)


@_policy
def poly(solver: Any, iteration: int) -> float:
    """``base_lr (1 - iteration / max_iter)^power``"""
    if not solver.max_iter:
        raise SolverError("lr_policy 'poly' needs a max_iter; set it to the last iteration")
    left = 1 - iteration / solver.max_iter
    if left < 0 and not solver.power.is_integer():
        raise SolverError(
            f"lr_policy 'poly' with power {solver.power:g} ends at max_iter, which is "
            f"{solver.max_iter}, and iteration {iteration} was asked for; set max_iter to the "
            "last iteration"
        )
    return solver.base_lr * left**solver.power


@_policy
def sigmoid(solver: Any, iteration: int) -> float:
    """``base_lr / (1 + exp(-gamma (iteration - stepsize)))``"""
    # By tanh, since exp would overflow far from the middle.
    return solver.base_lr * (1 + math.tanh(solver.gamma * (iteration - solver.stepsize) / 2)) / 2
