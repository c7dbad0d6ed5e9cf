"""Adam."""

from __future__ import annotations

import math

import torch

from recaffe.errors import SolverError
from recaffe.solver.adagrad import scaled
from recaffe.solver.registry import register
from recaffe.solver.rmsprop import follow_squares
from recaffe.solver.solver import Solver, Tensors


@register("Adam")
class AdamSolver(Solver):
    """``w = w - rate c m / (sqrt(v) + delta)``.

    ``m`` follows ``g`` with ``b1 = momentum``, ``v`` follows ``g^2`` with ``b2 = momentum2``:
    ``m = b1 m + (1 - b1) g``. At step ``t``, counted from 1,
    ``c = sqrt(1 - b2^t) / (1 - b1^t)`` makes up for their start at zero. As ``c`` stands
    outside, ``delta`` is the paper's epsilon times ``sqrt(1 - b2^t)``.

    Source: ``adam_solver.cpp``; Kingma and Ba, "Adam: a method for stochastic optimization",
    2015.
    """

    slots = ("mean of gradients", "mean of squared gradients")

    def check(self) -> None:
        # Beyond these, the correction has no finite value at one step or another.
        if not -1 < self.param.momentum < 1:
            raise SolverError(
                f"Adam's momentum is {self.param.momentum:g}; it must be above -1 and below 1"
            )
        if not -1 <= self.param.momentum2 <= 1:
            raise SolverError(f"Adam's momentum2 is {self.param.momentum2:g}, which is above 1")

    def compute(self, gradients: Tensors, histories: list[Tensors], rate: float) -> Tensors:
        means, squares = histories
        momentum, momentum2 = self.param.momentum, self.param.momentum2
        torch._foreach_mul_(means, momentum)
        torch._foreach_add_(means, gradients, alpha=1 - momentum)
        follow_squares(squares, gradients, momentum2)
        step = self.iteration + 1
        correction = math.sqrt(1 - momentum2**step) / (1 - momentum**step)
        return scaled(means, squares, rate * correction, self.param.delta)
