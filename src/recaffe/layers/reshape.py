"""Flatten and Reshape: the same values in other axes."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from recaffe.layers.base import Layer, Shape, register


class _Reshaping(Layer):
    """The bottom's values in the order they have, in the top's shape."""

    shares_data = shares_diff = True

    def forward(self, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> list[Tensor]:
        (bottom,) = bottoms
        (shape,) = self.top_shapes([tuple(bottom.shape)])
        return [bottom.reshape(shape)]


@register("Flatten")
class Flatten(_Reshaping):
    """The axes from ``axis`` to ``end_axis``, both included, become one.

    Where ``end_axis`` lies just before ``axis`` that is one of length 1.

    Source: ``flatten_layer.cpp``.
    """

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        (shape,) = bottom_shapes
        parameter = self.param.flatten_param
        start = self.canonical_axis(parameter.axis, shape)
        end = self.canonical_axis(parameter.end_axis, shape) + 1
        if start > end:
            raise self.error(
                f"axis {parameter.axis} lies behind end_axis {parameter.end_axis} in the bottom "
                f"{list(shape)}"
            )
        return [(*shape[:start], math.prod(shape[start:end]), *shape[end:])]


@register("Reshape")
class Reshape(_Reshaping):
    """``num_axes`` axes of the bottom from ``axis`` on are replaced by those of ``shape``.

    In ``shape``, 0 takes the length that the bottom has at that place, and -1, once, what is
    left. A ``num_axes`` of -1 means all that follow, and an ``axis`` of -1 is behind the last
    one, so that axes can be put in at either end.

    Source: ``reshape_layer.cpp``.
    """

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        (shape,) = bottom_shapes
        start, end = self._replaced(shape)
        dims = list(self.param.reshape_param.shape.dim)
        if dims.count(-1) > 1 or min(dims, default=0) < -1:
            raise self.error(f"shape takes lengths, 0, and -1 once, found {dims}")
        if any(dim == 0 and start + at >= len(shape) for at, dim in enumerate(dims)):
            raise self.error(
                f"a 0 in shape {dims} from axis {start} on has no axis to copy in the bottom "
                f"{list(shape)}"
            )
        # A 0 is the axis at the same place, even if that is not among the replaced ones.
        lengths = [shape[start + at] if dim == 0 else dim for at, dim in enumerate(dims)]
        count = math.prod(shape)
        if -1 in lengths:
            known = math.prod(length for length in lengths if length != -1)
            known *= math.prod(shape[:start]) * math.prod(shape[end:])
            if not known or count % known:
                raise self.error(
                    f"the bottom {list(shape)} has {count} values, which do not divide by the "
                    f"{known} of shape {dims} from axis {start} on"
                )
            lengths[lengths.index(-1)] = count // known
        top = (*shape[:start], *lengths, *shape[end:])
        if math.prod(top) != count:
            raise self.error(
                f"the bottom {list(shape)} has {count} values, the top {list(top)} would have "
                f"{math.prod(top)}"
            )
        return [top]

    def _replaced(self, shape: Shape) -> tuple[int, int]:
        parameter = self.param.reshape_param
        axis, axes = parameter.axis, parameter.num_axes
        start = axis if axis >= 0 else len(shape) + axis + 1
        if not 0 <= start <= len(shape):
            raise self.error(f"axis {axis} is not in a bottom of shape {list(shape)}")
        if axes < -1:
            raise self.error(f"num_axes must be at least 0, or -1 for all, found {axes}")
        end = len(shape) if axes == -1 else start + axes
        if end > len(shape):
            raise self.error(
                f"num_axes {axes} from axis {start} on are more than the bottom {list(shape)} has"
            )
        return start, end
