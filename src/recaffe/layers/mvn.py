"""MVN, mean-variance normalisation."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from recaffe.layers.base import Layer, Shape, register


@register("MVN")
class MVN(Layer):
    """Each image's channels less their mean and, by default, over their standard deviation.

    ``top = (bottom - mean) / (deviation + eps)``, with mean and deviation of the pixels of one
    channel, or with ``across_channels`` of a whole image. Without ``normalize_variance``,
    ``top = bottom - mean``.

    Shapes: bottom of one to four axes; top ``(N, C, H, W)``, with 1 for those not there.

    Source: ``mvn_layer.cpp``.
    """

    in_place = True
    puts_aside = True

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        (shape,) = bottom_shapes
        if len(shape) > 4:
            raise self.error(f"expected at most four axes, found the bottom {list(shape)}")
        return [(*shape, *(1,) * (4 - len(shape)))]

    def forward(self, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> list[Tensor]:
        parameter = self.param.mvn_param
        (top_shape,) = self.top_shapes([tuple(bottoms[0].shape)])
        bottom = bottoms[0].reshape(top_shape)
        axes = (1, 2, 3) if parameter.across_channels else (2, 3)
        centred = bottom - bottom.mean(axes, keepdim=True)
        if not parameter.normalize_variance:
            return [centred]
        variance = (centred * centred).mean(axes, keepdim=True)
        # Caffe's gradient divides by deviation + eps wherever the true one divides by either.
        # It is that of sqrt(variance + c), for the constant c that gives deviation + eps.
        deviation = variance.detach().sqrt()
        constant = parameter.eps * (2 * deviation + parameter.eps)
        return [centred / (variance + constant).sqrt()]
