"""Settings of sliding windows, which Caffe takes once, once an axis, or as ``_h`` and ``_w``."""

from __future__ import annotations

from typing import Any


def per_axis(parameter: Any, name: str, axes: int, default: int) -> list[int]:
    """The setting ``name`` of a ConvolutionParameter or PoolingParameter for each spatial axis.

    The net has been made with them, so they are known to make sense.
    """
    tall, wide = f"{name}_h", f"{name}_w"
    given = getattr(parameter, name)
    is_repeated = hasattr(given, "__len__")
    # Caffe's convolution asks for either of them, its pooling for the first alone.
    asked = [each for each in (tall, wide) if each in parameter.DESCRIPTOR.fields_by_name]
    if any(map(parameter.HasField, asked if is_repeated else asked[:1])):
        return [getattr(parameter, tall), getattr(parameter, wide)]
    values = list(given) if is_repeated else [given]
    if not values:
        return [default] * axes
    return [int(value) for value in (values * axes if len(values) == 1 else values)]
