"""Layers that work on each value by itself."""

from __future__ import annotations

import math

import numpy as np

from caffetools.onnx_export.graph import Layer, exports


def affine(layer: Layer, tensor: str, scale: float, shift: float) -> str:
    """``scale tensor + shift``, without the nodes that would change nothing."""
    if scale != 1:
        tensor = layer.op("Mul", tensor, layer.constant(scale))
    if shift != 0:
        tensor = layer.op("Add", tensor, layer.constant(shift))
    return tensor


def _plain(kind: str) -> None:
    """Register the layer types that have an operator of their own, without settings."""
    types = {"Abs": "AbsVal", "Sigmoid": "Sigmoid", "Softplus": "BNLL", "Tanh": "TanH"}

    @exports(types[kind])
    def export(layer: Layer) -> list[str]:
        return [layer.op(kind, layer.bottoms[0])]


for _kind in ("Abs", "Sigmoid", "Softplus", "Tanh"):
    _plain(_kind)


@exports("ReLU")
def relu(layer: Layer) -> list[str]:
    """Relu, or LeakyRelu with a ``negative_slope``."""
    return [_rectified(layer, layer.message.relu_param.negative_slope)]


@exports("ReLU6")
def relu6(layer: Layer) -> list[str]:
    """``min(ReLU, 6)``."""
    rectified = _rectified(layer, layer.message.relu6_param.negative_slope)
    return [layer.op("Min", rectified, layer.constant(6))]


def _rectified(layer: Layer, slope: float) -> str:
    if slope == 0:
        return layer.op("Relu", layer.bottoms[0])
    return layer.op("LeakyRelu", layer.bottoms[0], alpha=slope)


@exports("PReLU")
def prelu(layer: Layer) -> list[str]:
    """PRelu; the slopes ``(C,)`` get axes of length 1 behind, since ONNX aligns at the end."""
    (slope,) = layer.params
    spread = slope.reshape(-1, *(1,) * (len(layer.shapes[0]) - 2)) if slope.size > 1 else slope
    return [layer.op("PRelu", layer.bottoms[0], layer.constant(spread))]


@exports("ELU")
def elu(layer: Layer) -> list[str]:
    """Elu."""
    return [layer.op("Elu", layer.bottoms[0], alpha=layer.message.elu_param.alpha)]


@exports("Swish")
def swish(layer: Layer) -> list[str]:
    """``x Sigmoid(beta x)``."""
    (bottom,) = layer.bottoms
    scaled = affine(layer, bottom, layer.message.swish_param.beta, 0)
    return [layer.op("Mul", bottom, layer.op("Sigmoid", scaled))]


@exports("Clip")
def clip(layer: Layer) -> list[str]:
    """``max(min(x, max), min)``, in Caffe's order, in which min wins."""
    parameter = layer.message.clip_param
    below = layer.op("Min", layer.bottoms[0], layer.constant(parameter.max))
    return [layer.op("Max", below, layer.constant(parameter.min))]


@exports("Threshold")
def threshold(layer: Layer) -> list[str]:
    """1 where the bottom is above the threshold, else 0."""
    limit = layer.constant(layer.message.threshold_param.threshold)
    above = layer.op("Greater", layer.bottoms[0], limit)
    return [layer.op("Cast", above, to=_float())]


@exports("Exp")
def exp(layer: Layer) -> list[str]:
    """``base ^ (scale x + shift)`` as ``Exp(ln(base) (scale x + shift))``."""
    parameter = layer.message.exp_param
    log = _log_base(parameter.base)
    exponent = affine(layer, layer.bottoms[0], log * parameter.scale, log * parameter.shift)
    return [layer.op("Exp", exponent)]


@exports("Log")
def log(layer: Layer) -> list[str]:
    """``Log(scale x + shift) / ln(base)``."""
    parameter = layer.message.log_param
    inner = affine(layer, layer.bottoms[0], parameter.scale, parameter.shift)
    return [affine(layer, layer.op("Log", inner), 1 / _log_base(parameter.base), 0)]


def _log_base(base: float) -> float:
    return 1.0 if base == -1 else math.log(base)


@exports("Power")
def power(layer: Layer) -> list[str]:
    """``(scale x + shift) ^ power``; a constant where power or scale is 0, as in Caffe."""
    parameter = layer.message.power_param
    (bottom,) = layer.bottoms
    if parameter.power * parameter.scale == 0:
        with np.errstate(all="ignore"):
            value = np.float32(parameter.shift) ** np.float32(parameter.power)
        return [layer.op("Expand", layer.constant(value), layer.op("Shape", bottom))]
    base = affine(layer, bottom, parameter.scale, parameter.shift)
    if parameter.power == 1:
        return [base]
    return [layer.op("Pow", base, layer.constant(parameter.power))]


@exports("Dropout")
def dropout(layer: Layer) -> list[str]:
    """In tests the bottom; with a fork's ``scale_train: false`` times the share that is kept."""
    parameter = layer.message.dropout_param
    # BVLC's schema has no such field: there training scales.
    keeps = getattr(parameter, "scale_train", True)
    return [affine(layer, layer.bottoms[0], 1 if keeps else 1 - parameter.dropout_ratio, 0)]


def _float() -> int:
    from onnx import TensorProto

    return int(TensorProto.FLOAT)
