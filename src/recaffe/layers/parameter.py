"""Parameter."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from recaffe.layers.base import Layer, Shape, register
from recaffe.proto.schema import FillerParameter


@register("Parameter")
class Parameter(Layer):
    """A learned array as a top, for layers that take as a bottom what others have as a parameter.

    It starts at zero; ``shape`` says how large it is, one number if it is left out.

    Source: ``parameter_layer.hpp``. There, parameter and top are one memory, so that the
    gradients of several passes (``iter_size``) do not add up; here they do.
    """

    bottoms = (0, 0)

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        shape = tuple(self.param.parameter_param.shape.dim)
        if min(shape, default=1) < 1:
            raise self.error(f"a parameter cannot have the shape {list(shape)}")
        self.add_blob(shape, FillerParameter())

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        return [self.blobs[0].shape]

    def forward(self, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> list[Tensor]:
        return [params[0].view_as(params[0])]
