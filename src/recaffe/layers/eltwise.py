"""Eltwise."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import torch
from torch import Tensor

from recaffe.layers.base import Layer, Shape, register


@register("Eltwise")
class Eltwise(Layer):
    """The sum, the product or the maximum of two bottoms or more, element by element.

    ``SUM`` is ``coeff[0] bottom0 + coeff[1] bottom1 + ...``. The gradient of ``MAX`` goes to
    one bottom: of the first two that are equal to the second, else to the earlier one. That of
    ``PROD`` is always as with ``stable_prod_grad``: the product of the other bottoms.

    Source: ``eltwise_layer.cpp``. Without ``stable_prod_grad`` its gradient is top / bottom, NaN
    where the bottom is 0, and here the true one.
    """

    bottoms = (2, None)

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        parameter = self.param.eltwise_param
        count = len(bottom_shapes)
        if parameter.coeff and len(parameter.coeff) != count:
            raise self.error(
                f"coeff is given {len(parameter.coeff)} time(s) for {count} bottoms; give none "
                "or one a bottom"
            )
        if parameter.coeff and parameter.operation == parameter.PROD:
            raise self.error("only operation: SUM has coeff; leave it out")
        self.coefficients = list(parameter.coeff) or [1.0] * count

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        first = bottom_shapes[0]
        for shape in bottom_shapes:
            if shape != first:
                raise self.error(
                    f"all bottoms need the same shape, found {list(first)} and {list(shape)}"
                )
        return [first]

    def reads_bottom(self, bottom_index: int) -> bool:
        return self.param.eltwise_param.operation == self.param.eltwise_param.PROD

    def forward(self, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> list[Tensor]:
        parameter = self.param.eltwise_param
        first, second, *others = bottoms
        if parameter.operation == parameter.PROD:
            return [reduce(torch.mul, bottoms)]
        if parameter.operation == parameter.MAX:
            # torch.maximum would divide the gradient among equals.
            top = torch.where(first > second, first, second)
            return [reduce(lambda most, other: torch.where(other > most, other, most), others, top)]
        factor, *factors = self.coefficients
        top = first if factor == 1 else first * factor
        for bottom, factor in zip(bottoms[1:], factors, strict=True):
            top = torch.add(top, bottom, alpha=factor)
        return [top]
