"""Initial values of parameters.

Source: ``filler.hpp``. The distributions are Caffe's; the random numbers are torch's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from recaffe.errors import LayerError

Filler = Callable[[Tensor, Any, torch.Generator], None]
_FILLERS: dict[str, Filler] = {}


def filler(name: str) -> Callable[[Filler], Filler]:
    """Register a function as the filler of ``type: "name"``."""

    def register(function: Filler) -> Filler:
        if name in _FILLERS:
            raise ValueError(f"two fillers are registered as '{name}'")
        _FILLERS[name] = function
        return function

    return register


def fill(tensor: Tensor, parameter: Any, generator: torch.Generator) -> None:
    """Fill ``tensor`` in place as the FillerParameter says.

    Raises:
        LayerError: a filler type that is not known, or a setting or shape that it cannot fill.
    """
    if parameter.type not in _FILLERS:
        raise LayerError(
            f"unknown filler type '{parameter.type}'; known: {', '.join(sorted(_FILLERS))}"
        )
    if parameter.sparse != -1 and parameter.type != "gaussian":
        raise LayerError(
            f"sparse is for the gaussian filler, found {parameter.sparse} with the "
            f"{parameter.type} one; leave it out"
        )
    with torch.no_grad():
        _FILLERS[parameter.type](tensor, parameter, generator)


def _units(tensor: Tensor, parameter: Any) -> int:
    """How many units the parameter has: the length of its first axis."""
    if not tensor.dim():
        raise LayerError(
            f"the {parameter.type} filler needs an axis at least, found a single number"
        )
    return tensor.shape[0]


def _fan(tensor: Tensor, parameter: Any) -> float:
    """The number that ``variance_norm`` names: inputs or outputs a unit, or their mean."""
    fan_in = tensor.numel() / _units(tensor, parameter)
    fan_out = tensor.numel() / tensor.shape[1] if tensor.dim() > 1 else tensor.numel()
    by_norm = {
        parameter.FAN_IN: fan_in,
        parameter.FAN_OUT: fan_out,
        parameter.AVERAGE: (fan_in + fan_out) / 2,
    }
    return by_norm[parameter.variance_norm]


@filler("constant")
def constant(tensor: Tensor, parameter: Any, generator: torch.Generator) -> None:
    """Every element is ``value``."""
    tensor.fill_(parameter.value)


@filler("uniform")
def uniform(tensor: Tensor, parameter: Any, generator: torch.Generator) -> None:
    """Uniform on ``[min, max)``."""
    if parameter.min > parameter.max:
        raise LayerError(
            f"the uniform filler needs min <= max, found {parameter.min:g} and {parameter.max:g}"
        )
    tensor.uniform_(parameter.min, parameter.max, generator=generator)


@filler("gaussian")
def gaussian(tensor: Tensor, parameter: Any, generator: torch.Generator) -> None:
    """Normal with ``mean`` and ``std``; with ``sparse``, about that many non-zero a unit."""
    if parameter.std <= 0:
        raise LayerError(f"the gaussian filler needs std > 0, found {parameter.std:g}")
    tensor.normal_(parameter.mean, parameter.std, generator=generator)
    if parameter.sparse != -1:
        units = _units(tensor, parameter)
        if not 0 <= parameter.sparse <= units:
            raise LayerError(
                f"sparse must be from 0 to the {units} units of the shape {list(tensor.shape)}, "
                f"or -1 for none to be left out, found {parameter.sparse}"
            )
        probability = parameter.sparse / units
        tensor.mul_(torch.empty_like(tensor).bernoulli_(probability, generator=generator))


@filler("positive_unitball")
def positive_unitball(tensor: Tensor, parameter: Any, generator: torch.Generator) -> None:
    """Uniform on ``[0, 1)``, then scaled so that the weights of each unit sum to 1."""
    tensor.uniform_(0, 1, generator=generator)
    units = tensor.view(_units(tensor, parameter), -1)
    units.div_(units.sum(dim=1, keepdim=True))


@filler("xavier")
def xavier(tensor: Tensor, parameter: Any, generator: torch.Generator) -> None:
    """Uniform on ``±sqrt(3 / fan)`` (Glorot and Bengio 2010)."""
    scale = math.sqrt(3 / _fan(tensor, parameter))
    tensor.uniform_(-scale, scale, generator=generator)


@filler("msra")
def msra(tensor: Tensor, parameter: Any, generator: torch.Generator) -> None:
    """Normal with standard deviation ``sqrt(2 / fan)`` (He et al. 2015)."""
    tensor.normal_(0, math.sqrt(2 / _fan(tensor, parameter)), generator=generator)


@filler("bilinear")
def bilinear(tensor: Tensor, parameter: Any, generator: torch.Generator) -> None:
    """The kernel of bilinear interpolation, for upsampling by deconvolution.

    ``w[y, x] = (1 - |x / f - c|) (1 - |y / f - c|)`` with ``f = ceil(k / 2)`` and
    ``c = (k - 1) / (2 f)``.
    """
    if tensor.dim() != 4 or tensor.shape[2] != tensor.shape[3]:
        raise LayerError(
            f"the bilinear filler needs square kernels, found the shape {list(tensor.shape)}"
        )
    size = tensor.shape[3]
    factor = math.ceil(size / 2)
    center = (size - 1) / (2 * factor)
    ramp = 1 - (torch.arange(size, dtype=torch.float32) / factor - center).abs()
    tensor.copy_(torch.outer(ramp, ramp))
