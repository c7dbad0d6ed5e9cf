"""The learning rate of Caffe's solver at an iteration.

pycaffe's solver does not tell its rate, so the tools compute it from the solver's
parameters. With i the iteration, from 0:

==========  ====================================================================
fixed       base_lr
step        base_lr * gamma ^ floor(i / stepsize)
exp         base_lr * gamma ^ i
inv         base_lr * (1 + gamma * i) ^ (-power)
multistep   base_lr * gamma ^ (how many of stepvalue have been passed)
poly        base_lr * (1 - i / max_iter) ^ power
sigmoid     base_lr / (1 + exp(-gamma * (i - stepsize)))
==========  ====================================================================

Source: the comment on ``lr_policy`` in Caffe 1.0's caffe.proto, and its SGD solver.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from caffetools.cli import ToolError
from caffetools.suggest import did_you_mean


def learning_rate(solver: Any, iteration: int) -> float:
    """The rate with which ``solver`` (a SolverParameter) goes from ``iteration`` to the next.

    It is what Caffe logs as ``Iteration i, lr = ...``; an ``lr_mult`` is not in it. Fields
    that are not set count as 0, as they do in Caffe. ``poly`` ends at max_iter. Raises
    ToolError for a policy that Caffe lacks, and where the formula would divide by 0.
    """
    return _policy(solver.lr_policy).rate(solver, iteration)


def require_fields(solver: Any) -> None:
    """Raise ToolError unless every field is set that the solver's policy uses.

    Caffe itself takes those that are missing for 0, which is hardly ever meant.
    """
    for field in ("base_lr", *_policy(solver.lr_policy).fields):
        value = getattr(solver, field)
        is_list = hasattr(value, "append")
        if not (value if is_list else solver.HasField(field)):
            raise ToolError(f"lr_policy {solver.lr_policy!r} needs {field}, which is not set")


def steps_passed(stepvalue: Sequence[int], iteration: int) -> int:
    """How many of ``stepvalue`` the multistep policy counts as passed at ``iteration``.

    Caffe compares with the next value alone, and passes at most one an iteration: of
    values that repeat or fall, each takes effect one iteration after the one before it.
    """
    passed = 0
    takes_effect = -1
    for value in stepvalue:
        takes_effect = max(value, takes_effect + 1)
        if takes_effect > iteration:
            break
        passed += 1
    return passed


def _fixed(solver: Any, iteration: int) -> float:
    return float(solver.base_lr)


def _step(solver: Any, iteration: int) -> float:
    steps = iteration // _positive(solver, "stepsize")
    return float(solver.base_lr * solver.gamma**steps)


def _exp(solver: Any, iteration: int) -> float:
    return float(solver.base_lr * solver.gamma**iteration)


def _inv(solver: Any, iteration: int) -> float:
    return float(solver.base_lr * (1 + solver.gamma * iteration) ** -solver.power)


def _multistep(solver: Any, iteration: int) -> float:
    return float(solver.base_lr * solver.gamma ** steps_passed(solver.stepvalue, iteration))


def _poly(solver: Any, iteration: int) -> float:
    rest = 1 - iteration / _positive(solver, "max_iter")
    return float(solver.base_lr * rest**solver.power)


def _sigmoid(solver: Any, iteration: int) -> float:
    exponent = -solver.gamma * (iteration - solver.stepsize)
    # 1 / (1 + e^x), with both sides divided by e^x where that would overflow.
    sigmoid = math.exp(-max(exponent, 0)) / (1 + math.exp(-abs(exponent)))
    return float(solver.base_lr * sigmoid)


def _positive(solver: Any, field: str) -> int:
    value = int(getattr(solver, field))
    if value <= 0:
        raise ToolError(
            f"lr_policy {solver.lr_policy!r} needs {field} of at least 1, found {value}"
        )
    return value


class _Policy(NamedTuple):
    rate: Callable[[Any, int], float]
    fields: tuple[str, ...]


# Each policy with the fields that it uses beside base_lr.
_POLICIES: dict[str, _Policy] = {
    "fixed": _Policy(_fixed, ()),
    "step": _Policy(_step, ("gamma", "stepsize")),
    "exp": _Policy(_exp, ("gamma",)),
    "inv": _Policy(_inv, ("gamma", "power")),
    "multistep": _Policy(_multistep, ("gamma", "stepvalue")),
    "poly": _Policy(_poly, ("power", "max_iter")),
    "sigmoid": _Policy(_sigmoid, ("gamma", "stepsize")),
}


def _policy(name: str) -> _Policy:
    if name not in _POLICIES:
        raise ToolError(
            f"Caffe has no lr_policy {name!r}{did_you_mean(name, _POLICIES)} "
            f"Expected one of: {', '.join(_POLICIES)}"
        )
    return _POLICIES[name]
