"""BN, the batch normalisation of PSPNet's fork and that of SegNet's."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from recaffe.layers.base import Layer, Shape, register
from recaffe.proto.schema import FillerParameter

_PSPNETS = ("slope_filler", "bias_filler", "momentum", "eps", "frozen", "engine")
_SEGNETS = ("scale_filler", "shift_filler", "bn_mode")
# SegNet's fork has no field for it.
_SEGNETS_EPS = 1e-9


@register("BN")
class BN(Layer):
    """Each channel normalised, scaled and shifted: ``a (bottom - mean) / sqrt(var + eps) + b``.

    Two forks call so what has other parameters. The fields tell them apart; without any it is
    PSPNet's.

    PSPNet's has the blobs slope ``a``, bias ``b``, mean and variance. In TRAIN the statistics are
    the batch's, and the blobs become ``momentum`` of what they were and the rest of what the
    batch has; in TEST they are the blobs. ``frozen``: they are the blobs in TRAIN as well, and
    nothing is learnt. Mean and variance have no gradient; their ``lr_mult`` is 0.

    SegNet's has the blobs scale ``a`` and shift ``b``. ``bn_mode: LEARN``: the statistics are the
    batch's, in TEST too, and a second and third top give them. ``INFERENCE``: scale and shift
    hold the statistics, and the layer is ``a bottom + b``.

    Shapes: bottom ``(N, C, *S)``; blobs and further tops ``(1, C, 1, 1)``.

    Source: ``bn_layer.cpp`` of PSPNet's fork and that of SegNet's; Ioffe and Szegedy 2015.
    """

    tops = (1, 3)
    in_place = True
    puts_aside = True

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        (shape,) = bottom_shapes
        parameter = self.param.bn_param
        self._check_axes(shape)
        segnets = [name for name in _SEGNETS if parameter.HasField(name)]
        pspnets = [name for name in _PSPNETS if parameter.HasField(name)]
        if segnets and pspnets:
            raise self.error(
                f"{', '.join(segnets)} belong to SegNet's BN, {', '.join(pspnets)} to PSPNet's; "
                "give those of one"
            )
        self.keeps_statistics = not segnets
        if segnets:
            self._set_up_segnets(shape[1])
        else:
            self._set_up_pspnets(shape[1])

    def _set_up_pspnets(self, channels: int) -> None:
        parameter = self.param.bn_param
        if len(self.param.top) > 1:
            raise self.error("only SegNet's BN (bn_mode: LEARN) has more than one top")
        self.eps, self.momentum = parameter.eps, parameter.momentum
        self.frozen = parameter.frozen
        variance = FillerParameter(type="constant", value=float(self.frozen))
        for filler in (parameter.slope_filler, parameter.bias_filler, FillerParameter(), variance):
            self.add_blob((1, channels, 1, 1), filler)
        specs = self.param.param
        while len(specs) < 4:
            specs.add()
        for spec in specs if self.frozen else specs[2:4]:
            spec.lr_mult = spec.decay_mult = 0

    def _set_up_segnets(self, channels: int) -> None:
        parameter = self.param.bn_param
        self.learns = parameter.bn_mode == parameter.LEARN
        if not self.learns and len(self.param.top) > 1:
            raise self.error("with bn_mode: INFERENCE there are no statistics for further tops")
        for filler in (parameter.scale_filler, parameter.shift_filler):
            self.add_blob((1, channels, 1, 1), filler)

    def _check_axes(self, shape: Shape) -> None:
        if len(shape) < 2:
            raise self.error(f"expected a bottom (N, C, ...), found {list(shape)}")

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        (shape,) = bottom_shapes
        self._check_axes(shape)
        of_channels = self.blobs[0].shape
        if shape[1] != of_channels[1]:
            raise self.error(f"has parameters for {of_channels[1]} channels, found {list(shape)}")
        return [shape, of_channels, of_channels][: len(self.param.top)]

    def forward(self, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> list[Tensor]:
        (bottom,) = bottoms
        flat = [parameter.flatten() for parameter in params]
        if not self.keeps_statistics:
            return self._forward_segnets(bottom, flat)
        slope, bias, mean, variance = flat
        if self.frozen:
            slope, bias = slope.detach(), bias.detach()
        if self.frozen or not self.is_training:
            constants = (mean.detach(), variance.detach())
            return [F.batch_norm(bottom, *constants, slope, bias, eps=self.eps)]
        top, mean, variance = _normalised(bottom, slope, bias, self.eps)
        self._remember(mean, variance)
        return [top]

    def _forward_segnets(self, bottom: Tensor, params: Sequence[Tensor]) -> list[Tensor]:
        scale, shift = params
        if not self.learns:
            over_places = (-1, *[1] * (bottom.dim() - 2))
            return [torch.addcmul(shift.view(over_places), scale.view(over_places), bottom)]
        top, mean, variance = _normalised(bottom, scale, shift, _SEGNETS_EPS)
        shape = self.blobs[0].shape
        return [top, mean.view(shape), variance.view(shape)][: len(self.param.top)]

    @torch.no_grad()
    def _remember(self, *statistics: Tensor) -> None:
        # The blobs rather than the parameters given: a layer that shares them may just have
        # written to them, in this same pass.
        for blob, statistic in zip(self.blobs[2:], statistics, strict=True):
            old = blob.data_tensor
            new = statistic.to(old.dtype).view(old.shape)
            blob.set_data(self.momentum * old + (1 - self.momentum) * new)


def _normalised(
    bottom: Tensor, scale: Tensor, shift: Tensor, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """The top, and the mean and (biased) variance of each channel, which are constants."""
    values = bottom.numel() // bottom.shape[1]
    if values == 1:
        mean = bottom.detach().flatten()
        centred = (bottom - bottom).flatten()
        return (scale * centred + shift).view(bottom.shape), mean, torch.zeros_like(mean)
    # With a momentum of 1 torch adds this batch's statistics, the variance unbiased, to zero
    # times the old ones, which so must be finite.
    mean, variance = (torch.zeros_like(scale, dtype=bottom.dtype) for _ in range(2))
    top = F.batch_norm(bottom, mean, variance, scale, shift, True, 1.0, eps)
    return top, mean, variance * ((values - 1) / values)
