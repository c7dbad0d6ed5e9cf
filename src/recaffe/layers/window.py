"""Arithmetic of sliding windows, which convolution and pooling share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from recaffe.layers.base import Layer


def per_axis(
    layer: Layer, parameter: Any, name: str, axes: int, default: int | None, suffix: str = ""
) -> tuple[int, ...]:
    """The setting ``name`` for each spatial axis.

    Caffe lets it be given once for all axes, once an axis, or, in two dimensions, as
    ``name_h`` and ``name_w``. ``suffix`` completes the short name of ``kernel_size``.

    Raises:
        LayerError: given both ways, or for another number of axes; or missing without default.
    """
    tall, wide = f"{name}_h", f"{name}_w"
    given = getattr(parameter, name + suffix)
    values = list(given) if hasattr(given, "__len__") else [given]
    if not hasattr(given, "__len__") and not parameter.HasField(name + suffix):
        values = []
    if tall in parameter.DESCRIPTOR.fields_by_name and (
        parameter.HasField(tall) or parameter.HasField(wide)
    ):
        if values:
            raise layer.error(f"give either {name + suffix} or {tall} and {wide}, not both")
        if axes != 2:
            raise layer.error(f"{tall} and {wide} are for two spatial axes, found {axes}")
        return (getattr(parameter, tall), getattr(parameter, wide))
    if not values:
        if default is None:
            raise layer.error(f"{name + suffix} is missing")
        return (default,) * axes
    if len(values) not in (1, axes):
        raise layer.error(
            f"{name + suffix} is given {len(values)} times for {axes} spatial axes; "
            "give it once, or once an axis"
        )
    return tuple(values) * (axes if len(values) == 1 else 1)


def check_positive(layer: Layer, name: str, values: Sequence[int]) -> None:
    """Raise a LayerError unless every value is at least 1."""
    if min(values) < 1:
        raise layer.error(f"{name} must be at least 1, found {list(values)}")
