"""RMSProp."""

from __future__ import annotations

import torch

from recaffe.errors import SolverError
from recaffe.solver.adagrad import refuse_momentum, scaled
from recaffe.solver.registry import register
from recaffe.solver.solver import Solver, Tensors


@register("RMSProp")
class RMSPropSolver(Solver):
    """``h = rms_decay h + (1 - rms_decay) g^2``, ``w = w - rate g / (sqrt(h) + delta)``.

    Source: ``rmsprop_solver.cpp``; Tieleman and Hinton, "Lecture 6.5: rmsprop", 2012.
    """

    slots = ("mean of squared gradients",)

    def check(self) -> None:
        refuse_momentum(self)
        if not 0 <= self.param.rms_decay < 1:
            raise SolverError(
                f"rms_decay is {self.param.rms_decay:g}; it must be at least 0 and below 1"
            )

    def compute(self, gradients: Tensors, histories: list[Tensors], rate: float) -> Tensors:
        follow_squares(histories[0], gradients, self.param.rms_decay)
        return scaled(gradients, histories[0], rate, self.param.delta)


def follow_squares(means: Tensors, values: Tensors, keep: float) -> None:
    """``means = keep means + (1 - keep) values^2``, in place"""
    torch._foreach_mul_(means, keep)
    torch._foreach_addcmul_(means, values, values, 1 - keep)
