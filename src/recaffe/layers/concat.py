"""Concat and Slice: bottoms laid one after the other along an axis, and cut apart again."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from recaffe.layers.base import Layer, Shape, register


def _along(layer: Layer, parameter: Any, old_name: str, shape: Shape) -> int:
    """The axis, which old nets give as a number that cannot be negative."""
    if not parameter.HasField(old_name):
        return layer.canonical_axis(parameter.axis, shape)
    if parameter.HasField("axis"):
        raise layer.error(f"give either axis or {old_name}, not both")
    return layer.canonical_axis(getattr(parameter, old_name), shape)


@register("Concat")
class Concat(Layer):
    """The bottoms, one after the other along ``axis``, or ``concat_dim`` in old nets.

    Shapes: bottoms that differ along ``axis`` only; the top has the sum of what they have.

    Source: ``concat_layer.cpp``.
    """

    bottoms = (1, None)

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        self.shares_data = self.shares_diff = len(bottom_shapes) == 1

    def _axis(self, shape: Shape) -> int:
        return _along(self, self.param.concat_param, "concat_dim", shape)

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        first = bottom_shapes[0]
        axis = self._axis(first)
        before, behind = first[:axis], first[axis + 1 :]
        for shape in bottom_shapes:
            if len(shape) != len(first) or (shape[:axis], shape[axis + 1 :]) != (before, behind):
                raise self.error(
                    f"all bottoms need the same shape but for axis {axis}, "
                    f"found {list(first)} and {list(shape)}"
                )
        return [(*before, sum(shape[axis] for shape in bottom_shapes), *behind)]

    def forward(self, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> list[Tensor]:
        return [torch.cat(list(bottoms), self._axis(tuple(bottoms[0].shape)))]


@register("Slice")
class Slice(Layer):
    """The bottom cut along ``axis``, or ``slice_dim`` in old nets, into the tops.

    Each ``slice_point`` is where a top after the first one starts; without any, all tops are
    of one length.

    Source: ``slice_layer.cpp``.
    """

    tops = (1, None)

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        self.shares_data = self.shares_diff = self.top_count == 1

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        (shape,) = bottom_shapes
        axis, lengths = self._cut(shape)
        return [(*shape[:axis], length, *shape[axis + 1 :]) for length in lengths]

    def _cut(self, shape: Shape) -> tuple[int, list[int]]:
        """The axis, and how long each top is along it."""
        axis = _along(self, self.param.slice_param, "slice_dim", shape)
        points, tops, size = list(self.param.slice_param.slice_point), self.top_count, shape[axis]
        if not points:
            if size % tops or size < tops:
                raise self.error(
                    f"axis {axis} of the bottom {list(shape)} does not divide into {tops} "
                    "tops of one length; give slice_point"
                )
            return axis, [size // tops] * tops
        if len(points) != tops - 1:
            raise self.error(
                f"{tops} tops need {tops - 1} slice_point, found {len(points)} {points}"
            )
        lengths = [end - start for start, end in pairwise([0, *points, size])]
        if min(lengths) < 1:
            raise self.error(
                f"slice_point must rise and lie within axis {axis} of the bottom "
                f"{list(shape)}, found {points}"
            )
        return axis, lengths

    def forward(self, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> list[Tensor]:
        (bottom,) = bottoms
        axis, lengths = self._cut(tuple(bottom.shape))
        # Cloned, since Caffe's tops are not changed either by a bottom that is written to.
        return [piece.clone() for piece in bottom.split(lengths, axis)]
