"""Convolution and Deconvolution, in one to three dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from caffetools.onnx_export.graph import Layer, exports
from caffetools.onnx_export.windows import per_axis

_MOST_AXES = 3  # that onnxruntime has kernels for


@exports("Convolution", "ConvolutionDepthwise", "DepthwiseConvolution")
def convolution(layer: Layer) -> list[str]:
    """Conv. The groups follow from the weights ``(num_output, C / group, *kernel_size)``."""
    kernel = layer.params[0].shape[2:]
    group = _channels(layer) // layer.params[0].shape[1]
    settings = _settings(layer, len(kernel))
    sizes = layer.sizes(range(len(layer.shapes[0]) - len(kernel), len(layer.shapes[0])))
    tops = layer.top_shapes[0][-len(kernel) :]
    # Caffe rounds towards zero, by which a window that does not fit may stick out behind.
    behind = [
        max(pad, (top - 1) * stride + dilation * (width - 1) + 1 - size - pad)
        for pad, top, stride, dilation, width, size in zip(
            settings["pad"], tops, settings["stride"], settings["dilation"], kernel, sizes
        )
    ]
    return _each(layer, "Conv", group, settings, [*settings["pad"], *behind])


@exports("Deconvolution")
def deconvolution(layer: Layer) -> list[str]:
    """ConvTranspose. The weights are ``(C, num_output / group, *kernel_size)`` in both."""
    group = layer.message.convolution_param.num_output // layer.params[0].shape[1]
    settings = _settings(layer, layer.params[0].ndim - 2)
    return _each(layer, "ConvTranspose", group, settings, [*settings["pad"]] * 2)


def _settings(layer: Layer, axes: int) -> dict[str, list[int]]:
    if not 1 <= axes <= _MOST_AXES:
        raise layer.error(f"it has {axes} spatial axes; expected one to {_MOST_AXES}")
    parameter = layer.message.convolution_param
    return {
        "stride": per_axis(parameter, "stride", axes, 1),
        "pad": per_axis(parameter, "pad", axes, 0),
        "dilation": per_axis(parameter, "dilation", axes, 1),
    }


def _channels(layer: Layer) -> int:
    return layer.sizes([layer.axis(layer.message.convolution_param.axis)])[0]


def _each(
    layer: Layer, kind: str, group: int, settings: dict[str, list[int]], pads: Sequence[int]
) -> list[str]:
    arrays = [layer.constant(array) for array in layer.params]
    attributes: dict[str, Any] = {
        "kernel_shape": layer.params[0].shape[2:],
        "strides": settings["stride"],
        "dilations": settings["dilation"],
        "pads": pads,
        "group": group,
    }
    axis = layer.axis(layer.message.convolution_param.axis)
    tops = []
    for bottom, shape, top_shape in zip(layer.bottoms, layer.shapes, layer.top_shapes):
        if axis == 1:
            tops.append(layer.op(kind, bottom, *arrays, **attributes))
            continue
        # The axes before the channels are the batch, of which ONNX has one.
        flat = layer.reshaped(bottom, (None, *shape[axis:]))
        top = layer.op(kind, flat, *arrays, **attributes)
        tops.append(layer.reshaped(top, top_shape))
    return tops
