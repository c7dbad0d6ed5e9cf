"""AdaDelta."""

from __future__ import annotations

import torch

from recaffe.solver.adagrad import at_rate
from recaffe.solver.registry import register
from recaffe.solver.rmsprop import follow_squares
from recaffe.solver.solver import Solver, Tensors


@register("AdaDelta")
class AdaDeltaSolver(Solver):
    """``u = g sqrt((s + delta) / (h + delta))``, ``w = w - rate u``.

    ``h`` follows ``g^2`` and ``s`` follows ``u^2``, each as ``h = momentum h + (1 - momentum)
    g^2``: ``h`` before ``u`` is computed, ``s`` after. The paper has no rate.

    Source: ``adadelta_solver.cpp``; Zeiler, "ADADELTA: an adaptive learning rate method", 2012.
    """

    slots = ("mean of squared gradients", "mean of squared updates")

    def compute(self, gradients: Tensors, histories: list[Tensors], rate: float) -> Tensors:
        squares, update_squares = histories
        momentum, delta = self.param.momentum, self.param.delta
        follow_squares(squares, gradients, momentum)
        updates = torch._foreach_add(update_squares, delta)
        torch._foreach_div_(updates, torch._foreach_add(squares, delta))
        torch._foreach_sqrt_(updates)
        torch._foreach_mul_(updates, gradients)
        follow_squares(update_squares, updates, momentum)
        return at_rate(updates, rate)
