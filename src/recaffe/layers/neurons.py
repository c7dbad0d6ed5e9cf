"""Neurons without parameters: AbsVal, BNLL, Clip, ELU, Sigmoid, Swish, TanH, Threshold."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from recaffe.layers.base import Layer, register


class _Neuron(Layer):
    """A function of each element by itself."""

    in_place = True

    def forward(self, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> list[Tensor]:
        return [self._of(bottoms[0])]

    def _of(self, bottom: Tensor) -> Tensor:
        raise NotImplementedError


@register("AbsVal")
class AbsVal(_Neuron):
    """``top = |bottom|``; its gradient at 0 is 0.

    Source: ``absval_layer.cpp``, which refuses to work in place.
    """

    in_place = False

    def _of(self, bottom: Tensor) -> Tensor:
        return bottom.abs()


@register("BNLL")
class BNLL(_Neuron):
    """Binomial normal log likelihood, or softplus: ``top = log(1 + exp(bottom))``.

    Source: ``bnll_layer.cpp``.
    """

    def _of(self, bottom: Tensor) -> Tensor:
        return F.softplus(bottom)


@register("Clip")
class Clip(_Neuron):
    """``top = max(min(bottom, max), min)``; the gradient is 1 from ``min`` to ``max``, ends too.

    Source: ``clip_layer.cpp``.
    """

    def _of(self, bottom: Tensor) -> Tensor:
        parameter = self.param.clip_param
        # Where the two are given the wrong way round, min is the one that wins.
        return bottom.clamp(parameter.min, max(parameter.min, parameter.max))


@register("ELU")
class ELU(_Neuron):
    """``top = bottom`` where that is positive, else ``alpha (exp(bottom) - 1)``.

    Source: ``elu_layer.cpp``; Clevert et al. 2015.
    """

    reads_top = True

    def _of(self, bottom: Tensor) -> Tensor:
        return F.elu(bottom, self.param.elu_param.alpha)

    def gradient_of_blobs(self, bottom: Tensor, top: Tensor, diff: Tensor) -> Tensor:
        return torch.where(bottom > 0, diff, diff * (top + self.param.elu_param.alpha))


@register("Sigmoid")
class Sigmoid(_Neuron):
    """``top = 1 / (1 + exp(-bottom))``. ``engine`` changes nothing here.

    Source: ``sigmoid_layer.cpp``.
    """

    reads_top = True

    def _of(self, bottom: Tensor) -> Tensor:
        return bottom.sigmoid()

    def gradient_of_blobs(self, bottom: Tensor, top: Tensor, diff: Tensor) -> Tensor:
        return diff * top * (1 - top)


@register("Swish")
class Swish(_Neuron):
    """``top = bottom / (1 + exp(-beta bottom))``.

    Source: ``swish_layer.cpp``; Ramachandran et al. 2017.
    """

    puts_aside = True

    def _of(self, bottom: Tensor) -> Tensor:
        beta = self.param.swish_param.beta
        return F.silu(bottom) if beta == 1 else bottom * (bottom * beta).sigmoid()


@register("TanH")
class TanH(_Neuron):
    """``top = tanh(bottom)``. ``engine`` changes nothing here.

    Source: ``tanh_layer.cpp``.
    """

    reads_top = True

    def _of(self, bottom: Tensor) -> Tensor:
        return bottom.tanh()

    def gradient_of_blobs(self, bottom: Tensor, top: Tensor, diff: Tensor) -> Tensor:
        return diff * (1 - top * top)


@register("Threshold")
class Threshold(_Neuron):
    """``top = 1`` where ``bottom > threshold``, else 0. There is no gradient.

    Source: ``threshold_layer.cpp``.
    """

    def propagates_to(self, bottom_index: int) -> bool:
        return False

    def _of(self, bottom: Tensor) -> Tensor:
        return torch.gt(bottom, self.param.threshold_param.threshold).to(bottom.dtype)
