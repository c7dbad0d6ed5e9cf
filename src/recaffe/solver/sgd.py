"""SGD with momentum."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim.sgd import sgd

from recaffe.blob import Blob
from recaffe.errors import SolverError
from recaffe.net import Net
from recaffe.solver.solver import MakeNet, Solver


class SGDSolver(Solver):
    """``h = momentum h + rate (g + decay w)``, ``w = w - h``.

    ``rate = lr lr_mult`` and ``decay = weight_decay decay_mult`` of each parameter; with
    ``regularization_type: L1`` the sign of ``w`` stands in the place of ``w``.

    Source: ``sgd_solver.cpp``.
    """

    type = "SGD"

    def __init__(self, param: Any, make_net: MakeNet = Net) -> None:
        super().__init__(param, make_net)
        if self.param.regularization_type not in ("L1", "L2"):
            raise SolverError(
                f"regularization_type '{self.param.regularization_type}' is not known; "
                "known: L1, L2"
            )
        self._history: list[Tensor | None] = [None] * len(self.net.learnable)

    def _has_history(self, index: int) -> bool:
        return self._history[index] is not None

    def _update(self, index: int, blob: Blob, rate: float, scale: float) -> None:
        # The fused rule goes through memory, so all three must have one layout.
        weight, gradient = blob.data_tensor, blob.diff_tensor.contiguous()
        history = self._history[index]
        if history is None:
            history = self._history[index] = torch.zeros_like(weight)
        decay = self.param.weight_decay * self.net.decay_mults[index]
        if scale != 1:
            gradient = gradient * scale
        if decay and self.param.regularization_type == "L1":
            gradient = gradient + decay * weight.sign()
            decay = 0.0
        if not self.param.momentum:
            # torch's rule keeps no history then, and would leave the rate out
            torch.add(gradient, weight, alpha=decay, out=history).mul_(rate)
            weight.sub_(history)
            blob.set_diff(history)
            return
        # One pass over memory instead of four. With a learning rate of 1 and a dampening of
        # 1 - rate torch's fused rule is Caffe's, whose history holds the rate.
        sgd(
            [weight],
            [gradient],
            [history],
            fused=True,
            weight_decay=decay,
            momentum=self.param.momentum,
            lr=1.0,
            dampening=1 - rate,
            nesterov=False,
            maximize=False,
        )
        blob.set_diff(history)

    def history(self) -> list[np.ndarray]:
        return [
            np.zeros(blob.shape, np.float32) if history is None else history.cpu().numpy()
            for blob, history in zip(self.net.learnable, self._history, strict=True)
        ]

    def set_history(self, arrays: Sequence[np.ndarray]) -> None:
        self._history = [
            torch.from_numpy(array.reshape(blob.shape).astype(np.float32)).to(blob.device)
            if array.any()
            else None
            for array, blob in zip(arrays, self.net.learnable, strict=True)
        ]
