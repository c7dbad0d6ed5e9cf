"""AdaGrad."""

from __future__ import annotations

import torch

from recaffe.errors import SolverError
from recaffe.solver.registry import register
from recaffe.solver.solver import Solver, Tensors


@register("AdaGrad")
class AdaGradSolver(Solver):
    """``h = h + g^2``, ``w = w - rate g / (sqrt(h) + delta)``.

    Source: ``adagrad_solver.cpp``; Duchi, Hazan and Singer, "Adaptive subgradient methods",
    2011.
    """

    slots = ("sum of squared gradients",)

    def check(self) -> None:
        refuse_momentum(self)

    def compute(self, gradients: Tensors, histories: list[Tensors], rate: float) -> Tensors:
        torch._foreach_addcmul_(histories[0], gradients, gradients)
        return scaled(gradients, histories[0], rate, self.param.delta)


def refuse_momentum(solver: Solver) -> None:
    if solver.param.momentum:
        raise SolverError(
            f"{solver.type} has no momentum, but momentum is {solver.param.momentum:g}; "
            "leave it out"
        )


def scaled(numerators: Tensors, squares: Tensors, rate: float, delta: float) -> Tensors:
    """``rate numerators / (sqrt(squares) + delta)``"""
    roots = torch._foreach_sqrt(squares)
    torch._foreach_add_(roots, delta)
    updates = torch._foreach_div(numerators, roots)
    return at_rate(updates, rate)


def at_rate(updates: Tensors, rate: float) -> Tensors:
    """``rate updates``, in place.

    At a rate of 0 they are 0, whatever they were: where ``delta`` is 0, a gradient of 0 has made
    them NaN.
    """
    if rate:
        torch._foreach_mul_(updates, rate)
    else:
        torch._foreach_zero_(updates)
    return updates
