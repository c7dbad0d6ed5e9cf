"""BatchNorm."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from recaffe.layers.base import Layer, Shape, register
from recaffe.proto.schema import FillerParameter


@register("BatchNorm")
class BatchNorm(Layer):
    """Each channel less its mean, divided by its standard deviation; no scale, no shift.

    ``top = (bottom - mean) / sqrt(variance + eps)``. In TRAIN, mean and variance are those of
    the batch and the spatial axes, ``m`` values a channel, and are remembered: with ``f`` the
    ``moving_average_fraction``, blob 0 becomes ``f blob0 + mean``, blob 1 ``f blob1 +
    variance m / (m - 1)``, blob 2 ``f blob2 + 1``. In TEST, or as ``use_global_stats`` says,
    they are blob 0 and blob 1, both divided by blob 2 (or all zero if that is zero).

    Shapes: bottom ``(N, C, *S)``; blobs ``(C,)``, ``(C,)``, ``(1,)``. The blobs are not learnt:
    their ``lr_mult`` is 0 and they have no gradient.

    Source: ``batch_norm_layer.cpp``; Ioffe and Szegedy 2015.
    """

    in_place = True
    puts_aside = True

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        (shape,) = bottom_shapes
        parameter = self.param.batch_norm_param
        self._check_axes(shape)
        self.from_blobs = not self.is_training
        if parameter.HasField("use_global_stats"):
            self.from_blobs = parameter.use_global_stats
        self.fraction, self.eps = parameter.moving_average_fraction, parameter.eps
        self._forbid_learning()
        for count in (shape[1], shape[1], 1):
            self.add_blob((count,), FillerParameter(type="constant"))

    def _check_axes(self, shape: Shape) -> None:
        if len(shape) < 2:
            raise self.error(f"expected a bottom (N, C, ...), found {list(shape)}")

    def _forbid_learning(self) -> None:
        specs = self.param.param
        for spec in specs:
            if spec.lr_mult:
                raise self.error(
                    f"its blobs are statistics, which are not learnt, but param has lr_mult "
                    f"{spec.lr_mult:g} (1 where none is given); say lr_mult: 0 or leave param out"
                )
        while len(specs) < 3:
            specs.add(lr_mult=0)

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        (shape,) = bottom_shapes
        self._check_axes(shape)
        (channels,) = self.blobs[0].shape
        if shape[1] != channels:
            raise self.error(f"has statistics of {channels} channels, found {list(shape)}")
        return [shape]

    def forward(self, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> list[Tensor]:
        (bottom,) = bottoms
        if self.from_blobs:
            mean, variance, count = (statistic.detach() for statistic in params)
            scale = torch.where(count == 0, 0.0, 1 / count)
            return [self._normalised(bottom, mean * scale, variance * scale, training=False)]
        wide = torch.promote_types(bottom.dtype, torch.float32)
        mean, variance = (torch.zeros_like(self.blobs[i].data_tensor, dtype=wide)
                          for i in range(2))  # fmt: skip
        # With a momentum of 1 torch adds this batch's statistics, the variance unbiased, to
        # zero times the old ones, which so must be finite.
        values = bottom.numel() // bottom.shape[1]
        if values > 1:
            top = self._normalised(bottom, mean, variance, training=True)
        else:
            mean, variance = bottom.detach().reshape(-1), torch.zeros_like(mean)
            top = bottom - bottom
        self._remember(mean, variance)
        return [top]

    def _normalised(
        self, bottom: Tensor, mean: Tensor, variance: Tensor, *, training: bool
    ) -> Tensor:
        # torch.nn.functional's would refuse an eps of 0.
        cudnn = torch.backends.cudnn.enabled
        return torch.batch_norm(bottom, None, None, mean, variance, training, 1.0, self.eps, cudnn)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        # The blobs rather than the parameters given: a layer that shares them may just have
        # written to them, in this same pass.
        for blob, statistic in zip(
            self.blobs, (mean, variance, torch.ones_like(mean[:1])), strict=True
        ):
            old = blob.data_tensor
            blob.set_data(self.fraction * old + statistic.to(old.dtype))
