"""Nesterov's accelerated gradient."""

from __future__ import annotations

import torch

from recaffe.solver.registry import register
from recaffe.solver.sgd import SGDSolver
from recaffe.solver.solver import Tensors


@register("Nesterov")
class NesterovSolver(SGDSolver):
    """``h' = momentum h + rate g``, ``w = w - ((1 + momentum) h' - momentum h)``.

    Source: ``nesterov_solver.cpp``.
    """

    can_fuse = False

    def compute(self, gradients: Tensors, histories: list[Tensors], rate: float) -> Tensors:
        super().compute(gradients, histories, rate)
        # The step written above, without the old history: momentum h' + rate g.
        updates = torch._foreach_mul(histories[0], self.param.momentum)
        if rate:
            torch._foreach_add_(updates, gradients, alpha=rate)
        return updates
