"""Exp, Log and Power of a bottom that is scaled and shifted."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from recaffe.layers.base import Layer, Shape, register


def _affine(bottom: Tensor, scale: float, shift: float) -> Tensor:
    """``scale bottom + shift``; where that changes nothing, ``bottom`` itself."""
    scaled = bottom if scale == 1 else bottom * scale
    return scaled + shift if shift else scaled


class _OfBase(Layer):
    """What Exp and Log share: a base, of which -1 means e."""

    in_place = True

    def _log_base(self, base: float) -> float:
        if base == -1:
            return 1.0
        if not 0 < base < math.inf:
            raise self.error(f"base must be positive, or -1 for e, found {base:g}")
        return math.log(base)


@register("Exp")
class Exp(_OfBase):
    """``top = base ^ (scale bottom + shift)``, element by element; ``base: -1`` is e.

    Source: ``exp_layer.cpp``.
    """

    reads_top = True

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        parameter = self.param.exp_param
        log_base = self._log_base(parameter.base)
        self.scale, self.shift = log_base * parameter.scale, log_base * parameter.shift

    def forward(self, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> list[Tensor]:
        return [_affine(bottoms[0], self.scale, self.shift).exp()]

    def gradient_of_blobs(self, bottom: Tensor, top: Tensor, diff: Tensor) -> Tensor:
        return diff * top * self.scale


@register("Log")
class Log(_OfBase):
    """``top = log(scale bottom + shift) / log(base)``, element by element; ``base: -1`` is e.

    Source: ``log_layer.cpp``.
    """

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        base = self.param.log_param.base
        log_base = self._log_base(base)
        if not log_base:
            raise self.error("there is no logarithm of base 1; give another base")
        self.factor = 1 / log_base

    def forward(self, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> list[Tensor]:
        parameter = self.param.log_param
        top = _affine(bottoms[0], parameter.scale, parameter.shift).log()
        return [top if self.factor == 1 else top * self.factor]


@register("Power")
class Power(Layer):
    """``top = (scale bottom + shift) ^ power``, element by element.

    Source: ``power_layer.cpp``. At a base of 0 its gradient is NaN for most powers, and here
    the true one.
    """

    in_place = True
    reads_top = True

    def gradient_of_blobs(self, bottom: Tensor, top: Tensor, diff: Tensor) -> Tensor:
        parameter = self.param.power_param
        power, scale, shift = parameter.power, parameter.scale, parameter.shift
        factor = power * scale
        if not factor or power == 1:
            return diff * factor
        base = _affine(bottom, scale, shift)
        return diff * factor * (base if power == 2 else top / base)

    def forward(self, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> list[Tensor]:
        parameter = self.param.power_param
        (bottom,) = bottoms
        power, scale, shift = parameter.power, parameter.scale, parameter.shift
        if not power * scale:
            # A constant, of infinities and NaN as well, and without a gradient.
            return [torch.full_like(bottom, shift).pow(power)]
        base = _affine(bottom, scale, shift)
        if power == 1:
            return [base.clone() if base is bottom else base]
        return [base.pow(power)]
