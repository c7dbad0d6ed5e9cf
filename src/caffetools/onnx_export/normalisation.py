"""LRN, BatchNorm, Scale and what else brings values to a measure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from caffetools.onnx_export.graph import Layer, exports

_SEGNETS_EPS = 1e-9  # of BN with bn_mode: LEARN, which has no field for it


@exports("LRN")
def lrn(layer: Layer) -> list[str]:
    """Across channels ONNX's own; within a channel ``x (1 + alpha mean(x^2))^-beta``."""
    parameter = layer.message.lrn_param
    (bottom,) = layer.bottoms
    size, alpha, beta = parameter.local_size, parameter.alpha, parameter.beta
    if parameter.norm_region == parameter.ACROSS_CHANNELS:
        return [layer.op("LRN", bottom, size=size, alpha=alpha, beta=beta, bias=parameter.k)]
    mean = layer.op(
        "AveragePool",
        layer.op("Mul", bottom, bottom),
        kernel_shape=[size, size],
        pads=[size // 2] * 4,
        count_include_pad=1,
    )
    scale = layer.op("Add", layer.op("Mul", mean, layer.constant(alpha)), layer.constant(1))
    return [layer.op("Mul", bottom, layer.op("Pow", scale, layer.constant(-beta)))]


@exports("BatchNorm")
def batch_norm(layer: Layer) -> list[str]:
    """BatchNormalization by the sums in the blobs over their count, scale 1 and shift 0."""
    parameter = layer.message.batch_norm_param
    if parameter.HasField("use_global_stats") and not parameter.use_global_stats:
        return [_by_batch(layer, parameter.eps)[0]]
    mean, variance, count = layer.params
    factor = 0.0 if count[0] == 0 else 1 / count[0]
    ones = np.ones_like(mean)
    return [_normalised(layer, [ones, 0 * ones, mean * factor, variance * factor], parameter.eps)]


@exports("BN")
def bn(layer: Layer) -> list[str]:
    """PSPNet's BN, by its blobs; or SegNet's, by the batch (LEARN) or as ``a x + b``."""
    parameter = layer.message.bn_param
    arrays = [array.reshape(-1) for array in layer.params]
    if len(arrays) == 4:
        return [_normalised(layer, arrays, parameter.eps)]
    scale, shift = (layer.constant(_over_places(layer, array)) for array in arrays)
    if parameter.bn_mode != parameter.LEARN:
        return [layer.op("Add", layer.op("Mul", layer.bottoms[0], scale), shift)]
    normalised, *statistics = _by_batch(layer, _SEGNETS_EPS)
    top = layer.op("Add", layer.op("Mul", normalised, scale), shift)
    shapes = layer.top_shapes[1:]
    return [top, *(layer.reshaped(each, shape) for each, shape in zip(statistics, shapes))]


def _normalised(layer: Layer, arrays: Sequence[np.ndarray], eps: float) -> str:
    constants = [layer.constant(array) for array in arrays]
    return layer.op("BatchNormalization", layer.bottoms[0], *constants, epsilon=eps)


def _by_batch(layer: Layer, eps: float) -> list[str]:
    """The bottom normalised by its own statistics, and mean and variance of each channel."""
    axes = layer.whole_numbers([axis for axis in range(len(layer.shapes[0])) if axis != 1])
    mean = layer.op("ReduceMean", layer.bottoms[0], axes)
    centred = layer.op("Sub", layer.bottoms[0], mean)
    variance = layer.op("ReduceMean", layer.op("Mul", centred, centred), axes)
    deviation = layer.op("Sqrt", layer.op("Add", variance, layer.constant(eps)))
    return [layer.op("Div", centred, deviation), mean, variance]


def _over_places(layer: Layer, array: np.ndarray) -> np.ndarray:
    return array.reshape(-1, *(1,) * (len(layer.shapes[0]) - 2))


@exports("Scale")
def scale(layer: Layer) -> list[str]:
    """``x scale``, or ``x scale + bias``; the scale may be a second bottom."""
    axis = layer.message.scale_param.axis
    factors, *bias = _arrays(layer, axis)
    top = layer.op("Mul", layer.bottoms[0], factors)
    return [layer.op("Add", top, bias[0]) if bias else top]


@exports("Bias")
def bias(layer: Layer) -> list[str]:
    """``x + bias``; the bias may be a second bottom."""
    (shift,) = _arrays(layer, layer.message.bias_param.axis)
    return [layer.op("Add", layer.bottoms[0], shift)]


def _arrays(layer: Layer, axis: int) -> list[str]:
    """Second bottom and parameters, with as many axes behind as the first bottom has there."""
    start, axes = layer.axis(axis), len(layer.shapes[0])
    arrays = []
    for bottom, shape in zip(layer.bottoms[1:], layer.shapes[1:]):
        behind = list(range(len(shape), axes - start)) if shape else []
        arrays.append(
            layer.op("Unsqueeze", bottom, layer.whole_numbers(behind)) if behind else bottom
        )
    for array in layer.params:
        behind = [1] * (axes - start - array.ndim) if array.ndim else []
        arrays.append(layer.constant(array.reshape((*array.shape, *behind))))
    return arrays


@exports("MVN")
def mvn(layer: Layer) -> list[str]:
    """``x - mean``, by default over the standard deviation plus eps."""
    parameter = layer.message.mvn_param
    bottom = layer.bottoms[0]
    if len(layer.shapes[0]) < 4:
        bottom = layer.reshaped(bottom, layer.top_shapes[0])
    axes = layer.whole_numbers([1, 2, 3] if parameter.across_channels else [2, 3])
    centred = layer.op("Sub", bottom, layer.op("ReduceMean", bottom, axes))
    if not parameter.normalize_variance:
        return [centred]
    variance = layer.op("ReduceMean", layer.op("Mul", centred, centred), axes)
    deviation = layer.op("Add", layer.op("Sqrt", variance), layer.constant(parameter.eps))
    return [layer.op("Div", centred, deviation)]


@exports("Normalize")
def normalize(layer: Layer) -> list[str]:
    """``scale x / sqrt(sum x^2 + eps)`` over the channels, or all of an item."""
    parameter = layer.message.norm_param
    (bottom,), (factors,) = layer.bottoms, layer.params
    axes = list(range(1, len(layer.shapes[0]))) if parameter.across_spatial else [1]
    squares = layer.op("ReduceSumSquare", bottom, layer.whole_numbers(axes))
    length = layer.op("Sqrt", layer.op("Add", squares, layer.constant(parameter.eps)))
    spread = _over_places(layer, factors) if factors.ndim else factors
    return [layer.op("Mul", layer.op("Div", bottom, length), layer.constant(spread))]


@exports("Softmax")
def softmax(layer: Layer) -> list[str]:
    """Softmax along ``axis``."""
    return [layer.op("Softmax", layer.bottoms[0], axis=layer.message.softmax_param.axis)]
