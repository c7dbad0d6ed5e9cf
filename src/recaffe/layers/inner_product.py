"""InnerProduct, the fully connected layer."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from recaffe.layers.base import Layer, Shape, register


@register("InnerProduct")
class InnerProduct(Layer):
    """``top = bottom W^T + bias``, the bottom's axes from ``axis`` on taken as one vector.

    Shapes: bottom ``(*M, *K)``, split at ``axis``; weight ``(num_output, K)`` with ``K``
    multiplied out, or ``(K, num_output)`` with ``transpose``; bias ``(num_output,)``;
    top ``(*M, num_output)``.

    Source: ``inner_product_layer.cpp``.
    """

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        parameter = self.param.inner_product_param
        (shape,) = bottom_shapes
        self.axis = self.canonical_axis(parameter.axis, shape)
        self.num_output = parameter.num_output
        self.transpose = parameter.transpose
        self.inputs = math.prod(shape[self.axis :])
        if self.num_output < 1:
            raise self.error("num_output must be at least 1")
        weight = (self.num_output, self.inputs)
        self.add_blob(weight[::-1] if self.transpose else weight, parameter.weight_filler)
        if parameter.bias_term:
            self.add_blob((self.num_output,), parameter.bias_filler)

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        (shape,) = bottom_shapes
        found = math.prod(shape[self.axis :])
        if found != self.inputs:
            raise self.error(
                f"the weights are for {self.inputs} inputs, but the bottom {list(shape)} "
                f"gives {found}"
            )
        return [(*shape[: self.axis], self.num_output)]

    def forward(self, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> list[Tensor]:
        (bottom,) = bottoms
        weight = params[0] if self.transpose else params[0].t()
        rows = bottom.reshape(-1, self.inputs)
        product = rows @ weight if len(params) == 1 else torch.addmm(params[1], rows, weight)
        return [product.reshape(*bottom.shape[: self.axis], self.num_output)]
