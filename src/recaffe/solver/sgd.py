"""SGD with momentum."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch.optim.sgd import sgd

from recaffe.solver.registry import register
from recaffe.solver.solver import Solver, Tensors

# Below it, too few digits of the rate are left in 1 - rate.
_LEAST_FUSED_RATE = 1e-7


@register("SGD")
class SGDSolver(Solver):
    """``h = momentum h + rate (g + decay w)``, ``w = w - h``.

    Source: ``sgd_solver.cpp``.
    """

    slots = ("momentum",)
    can_fuse: ClassVar[bool] = True

    def compute(self, gradients: Tensors, histories: list[Tensors], rate: float) -> Tensors:
        torch._foreach_mul_(histories[0], self.param.momentum)
        # An infinite gradient times a rate of 0 would be NaN.
        if rate:
            torch._foreach_add_(histories[0], gradients, alpha=rate)
        return histories[0]

    def is_idle(self, index: int) -> bool:
        return self.net.lr_mults[index] == 0 and not self.has_history(index)

    def update(self, indices: Sequence[int], rate: float, decay: float, scale: float) -> None:
        # Without momentum torch's rule keeps no history, and would leave the rate out.
        if not self.can_fuse or not self.param.momentum or abs(rate) < _LEAST_FUSED_RATE:
            super().update(indices, rate, decay, scale)
            return
        weights, gradients, histories = self.tensors(indices)
        if self.param.regularization_type == "L1":
            gradients = self.regularised(gradients, weights, scale, decay)
            decay, scale = 0.0, 1.0
        if scale != 1:
            gradients = torch._foreach_mul(gradients, scale)
        # One pass over memory instead of four. With a learning rate of 1 and a dampening of
        # 1 - rate torch's fused rule is Caffe's, whose history holds the rate.
        sgd(
            list(weights),
            list(gradients),
            list(histories[0]),
            fused=True,
            weight_decay=decay,
            momentum=self.param.momentum,
            lr=1.0,
            dampening=1 - rate,
            nesterov=False,
            maximize=False,
        )
        for index, history in zip(indices, histories[0], strict=True):
            self.net.learnable[index].set_diff(history)
