"""Settings of sliding windows, which Caffe takes once, once an axis, or as ``_h`` and ``_w``."""

from __future__ import annotations

from typing import Any


def per_axis(parameter: Any, name: str, axes: int, default: int) -> list[int]:
    """The setting ``name`` of a ConvolutionParameter or PoolingParameter for each spatial axis.

    The net has been made with them, so they are known to make sense.
    """
    tall, wide = f"{name}_h", f"{name}_w"
    if parameter.HasField(tall) if tall in parameter.DESCRIPTOR.fields_by_name else False:
        return [getattr(parameter, tall), getattr(parameter, wide)]
    given = getattr(parameter, name)
    values = list(given) if hasattr(given, "__len__") else [given]
    if not values:
        return [default] * axes
    return [int(value) for value in (values * axes if len(values) == 1 else values)]
