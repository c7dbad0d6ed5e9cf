"""Reduction."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from recaffe.layers.base import Layer, Shape, register


@register("Reduction")
class Reduction(Layer):
    """All axes from ``axis`` on reduced to one number, times ``coeff``.

    ``SUM`` adds the values up, ``ASUM`` their absolute ones, ``SUMSQ`` their squares; ``MEAN``
    divides the sum by their number.

    Shapes: bottom ``(*M, *N)``, split at ``axis``; top ``(*M)``.

    Source: ``reduction_layer.cpp``.
    """

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        (shape,) = bottom_shapes
        return [shape[: self.canonical_axis(self.param.reduction_param.axis, shape)]]

    def forward(self, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> list[Tensor]:
        parameter = self.param.reduction_param
        ((*kept,),) = self.top_shapes([tuple(bottoms[0].shape)])
        values = bottoms[0].flatten(len(kept))
        if parameter.operation == parameter.ASUM:
            values = values.abs()
        elif parameter.operation == parameter.SUMSQ:
            values = values.square()
        is_mean = parameter.operation == parameter.MEAN
        top = values.mean(-1) if is_mean else values.sum(-1)
        return [top if parameter.coeff == 1 else top * parameter.coeff]
