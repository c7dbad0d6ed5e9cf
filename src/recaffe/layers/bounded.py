"""A logarithm's argument, kept from zero the way Caffe's losses do."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class _Bounded(torch.autograd.Function):
    """``max(values, least)``, whose gradient is that of ``values``, everywhere.

    Caffe bounds the value of its losses but takes the gradient of the unbounded formula.
    Adding and subtracting would do, were it not that values may be infinite.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor, least: float) -> Tensor:
        return values.clamp(min=least)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return gradients[0], None


def bounded(values: Tensor, least: float) -> Tensor:
    """``max(values, least)``, with a gradient of 1 also where it is ``least``."""
    bound: Tensor = _Bounded.apply(values, least)
    return bound
