"""Arithmetic of sliding windows, which convolution and pooling share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from recaffe.layers.base import Layer, Shape


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
        if default is None and axes:
            raise layer.error(f"{name + suffix} is missing")
        return (default or 0,) * axes
    if len(values) not in (1, axes):
        raise layer.error(
            f"{name + suffix} is given {len(values)} times for {axes} spatial axes; "
            "give it once, or once an axis"
        )
    return tuple(values * axes if len(values) == 1 else values)


def check_positive(layer: Layer, name: str, values: Sequence[int]) -> None:
    """Raise a LayerError unless every value is at least 1."""
    if min(values, default=1) < 1:
        raise layer.error(f"{name} must be at least 1, found {list(values)}")


@dataclass(frozen=True)
class Windows:
    """The windows of a ConvolutionParameter: a number for each spatial axis, of which any
    number may be, none included."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    pad: tuple[int, ...]
    dilation: tuple[int, ...]

    @classmethod
    def of(cls, layer: Layer, axes: int) -> Windows:
        """Those of ``layer``, for ``axes`` spatial axes.

        Raises:
            LayerError: given for another number of axes, or not positive.
        """
        parameter = layer.param.convolution_param
        windows = cls(
            per_axis(layer, parameter, "kernel", axes, None, suffix="_size"),
            per_axis(layer, parameter, "stride", axes, 1),
            per_axis(layer, parameter, "pad", axes, 0),
            per_axis(layer, parameter, "dilation", axes, 1),
        )
        for name in ("kernel", "stride", "dilation"):
            check_positive(layer, name, getattr(windows, name))
        return windows

    @property
    def extent(self) -> tuple[int, ...]:
        """What a window spans, the gaps of its dilation included."""
        return tuple(
            dilation * (kernel - 1) + 1
            for kernel, dilation in zip(self.kernel, self.dilation, strict=True)
        )

    def counts(self, layer: Layer, shape: Shape, sizes: Shape) -> Shape:
        """How many windows there are along each of the spatial ``sizes`` of ``shape``.

        Raises:
            LayerError: along some axis there is none.
        """
        counts = []
        for size, extent, stride, pad in zip(
            sizes, self.extent, self.stride, self.pad, strict=True
        ):
            span = size + 2 * pad - extent
            # Caffe divides as C does, towards zero: so a window may stick out a little.
            counts.append((span // stride if span >= 0 else -(-span // stride)) + 1)
        if min(counts, default=1) < 1:
            raise layer.error(
                f"kernel_size {list(self.kernel)} does not fit the bottom {list(shape)} "
                f"with pad {list(self.pad)}"
            )
        return tuple(counts)

    def filled(self, bottom: Tensor) -> Tensor:
        """The bottom ``(N, C, *S)``, with zeros behind it where the only window sticks out."""
        missing = [
            max(0, extent - size - 2 * pad)
            for size, extent, pad in zip(bottom.shape[2:], self.extent, self.pad, strict=True)
        ]
        return pad_behind(bottom, missing) if any(missing) else bottom


def pad_behind(bottom: Tensor, zeros: Sequence[int]) -> Tensor:
    """The bottom ``(N, C, *S)`` with so many ``zeros`` at the end of each of the axes ``S``."""
    return F.pad(bottom, [side for count in reversed(zeros) for side in (0, count)])
