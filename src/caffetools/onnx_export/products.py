"""Layers that multiply, add up, choose and compare."""

from __future__ import annotations

from functools import reduce

import numpy as np

from caffetools.onnx_export.graph import Layer, exports
from caffetools.onnx_export.neurons import affine


@exports("InnerProduct")
def inner_product(layer: Layer) -> list[str]:
    """Gemm over the axes from ``axis`` on, taken as one vector."""
    parameter = layer.message.inner_product_param
    weight, *bias = layer.params
    axis = layer.axis(parameter.axis)
    inputs = weight.shape[0 if parameter.transpose else 1]
    rows = layer.bottoms[0]
    if axis == 1 and len(layer.shapes[0]) > 2:
        rows = layer.op("Flatten", rows, axis=1)
    elif axis != 1:
        rows = layer.reshaped(rows, (None, inputs))
    arrays = [layer.constant(array) for array in (weight, *bias)]
    top = layer.op("Gemm", rows, *arrays, transB=int(not parameter.transpose))
    return [top if axis == 1 else layer.reshaped(top, layer.top_shapes[0])]


@exports("Embed")
def embed(layer: Layer) -> list[str]:
    """Gather of the weights' rows."""
    weight, *bias = layer.params
    index = _index(layer, layer.bottoms[0])
    top = layer.op("Gather", layer.constant(weight), index, axis=0)
    return [layer.op("Add", top, layer.constant(bias[0])) if bias else top]


@exports("BatchReindex")
def batch_reindex(layer: Layer) -> list[str]:
    """Gather of items."""
    values, index = layer.bottoms
    return [layer.op("Gather", values, _index(layer, index), axis=0)]


def _index(layer: Layer, tensor: str) -> str:
    from onnx import TensorProto

    return layer.op("Cast", tensor, to=int(TensorProto.INT64))


@exports("Eltwise")
def eltwise(layer: Layer) -> list[str]:
    """Sum, with a factor a bottom, product or maximum."""
    parameter = layer.message.eltwise_param
    if parameter.operation == parameter.PROD:
        return [reduce(lambda left, right: layer.op("Mul", left, right), layer.bottoms)]
    if parameter.operation == parameter.MAX:
        return [layer.op("Max", *layer.bottoms)]
    factors = list(parameter.coeff) or [1.0] * len(layer.bottoms)
    terms = [affine(layer, bottom, factor, 0) for bottom, factor in zip(layer.bottoms, factors)]
    return [reduce(lambda left, right: layer.op("Add", left, right), terms)]


@exports("Axpy")
def axpy(layer: Layer) -> list[str]:
    """``a x + y`` with one factor ``a`` a channel."""
    factors, x, y = layer.bottoms
    axes = len(layer.shapes[1]) - len(layer.shapes[0])
    if axes > 0:
        behind = list(range(len(layer.shapes[0]), len(layer.shapes[1])))
        factors = layer.op("Unsqueeze", factors, layer.whole_numbers(behind))
    elif axes < 0:
        behind = list(range(len(layer.shapes[1]), len(layer.shapes[0])))
        factors = layer.op("Squeeze", factors, layer.whole_numbers(behind))
    return [layer.op("Add", layer.op("Mul", factors, x), y)]


@exports("Reduction")
def reduction(layer: Layer) -> list[str]:
    """All axes from ``axis`` on to one number, times ``coeff``."""
    parameter = layer.message.reduction_param
    kind = {
        parameter.SUM: "ReduceSum",
        parameter.ASUM: "ReduceL1",
        parameter.SUMSQ: "ReduceSumSquare",
        parameter.MEAN: "ReduceMean",
    }[parameter.operation]
    axes = range(layer.axis(parameter.axis), len(layer.shapes[0]))
    reduced = layer.op(kind, layer.bottoms[0], layer.whole_numbers(list(axes)), keepdims=0)
    return [affine(layer, reduced, parameter.coeff, 0)]


@exports("ArgMax")
def arg_max(layer: Layer) -> list[str]:
    """TopK from the back: of equal values Caffe takes the last, ONNX the first."""
    from onnx import TensorProto

    parameter = layer.message.argmax_param
    (values,) = layer.bottoms
    has_axis = parameter.HasField("axis")
    axis = layer.axis(parameter.axis) if has_axis else 1
    if has_axis:
        (choices,) = layer.sizes([axis])
    else:
        choices = int(np.prod(layer.sizes(range(1, len(layer.shapes[0])))))
        values = layer.op("Flatten", values, axis=1)
    # The end of a backward slice that reaches the first value lies before all of them.
    first, step = layer.whole_numbers([-1]), layer.whole_numbers([-1])
    before_all = layer.whole_numbers([-choices - 1])
    backward = layer.op("Slice", values, first, before_all, layer.whole_numbers([axis]), step)
    count = layer.whole_numbers([parameter.top_k])
    largest, found = layer.ops("TopK", backward, count, outputs=2, axis=axis)
    index = layer.op("Sub", layer.whole_numbers(choices - 1), found)
    index = layer.op("Cast", index, to=int(TensorProto.FLOAT))
    if has_axis:
        return [largest if parameter.out_max_val else index]
    both = [index, largest] if parameter.out_max_val else [index]
    top = layer.op("Concat", *both, axis=1) if len(both) > 1 else index
    return [layer.reshaped(top, layer.top_shapes[0])]
