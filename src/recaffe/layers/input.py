"""Input."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from recaffe.layers.base import Layer, Shape, register


@register("Input")
class Input(Layer):
    """Tops of given shapes, which the user fills: ``net.blobs["data"].data[...] = images``.

    Source: ``input_layer.cpp``.
    """

    bottoms = (0, 0)
    tops = (1, None)

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        shapes = self.param.input_param.shape
        if len(shapes) not in (1, len(self.param.top)):
            raise self.error(
                f"expected one shape, or one for each of the {len(self.param.top)} tops, "
                f"found {len(shapes)}"
            )

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        shapes = [tuple(shape.dim) for shape in self.param.input_param.shape]
        return shapes * (len(self.param.top) if len(shapes) == 1 else 1)

    def forward(self, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> list[Tensor]:
        return []  # the tops hold what the user wrote to them
