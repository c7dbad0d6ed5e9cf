"""DummyData."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from recaffe import fillers
from recaffe.context import context
from recaffe.errors import LayerError
from recaffe.layers.base import BlobLayer, Shape, register

_LEGACY_DIMS = ("num", "channels", "height", "width")


@register("DummyData")
class DummyData(BlobLayer):
    """Tops of given shapes, filled by fillers: with a constant once, else before each forward.

    A constant top keeps what a user writes to it. ``shape`` and ``data_filler`` are given once
    or for each top; without a filler the tops are 0. The old fields ``num``, ``channels``,
    ``height`` and ``width``, each given once or for each top, make tops of four axes.

    Source: ``dummy_data_layer.cpp``.
    """

    bottoms = (0, 0)
    tops = (1, None)

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        parameter = self.param.dummy_data_param
        self._shapes = self._given_shapes(parameter)
        given = list(parameter.data_filler)
        if len(given) not in (0, 1, self.top_count):
            raise self.error(
                f"expected no data_filler, one, or one for each of the {self.top_count} tops, "
                f"found {len(given)}"
            )
        # A filler that is not given is a constant of 0, which is the message's own default.
        given = given or [type(parameter)().data_filler.add()]
        self._fillers = given * self.top_count if len(given) == 1 else given
        for index, top in enumerate(self.top_blobs):
            top.reshape(self._shapes[index])
            if self._is_constant(index):
                self._fill(index)
            else:  # only whether it can be filled
                self._filled(index, torch.Generator(top.device))

    def _given_shapes(self, parameter: Any) -> list[Shape]:
        legacy = [getattr(parameter, name) for name in _LEGACY_DIMS]
        if not any(legacy):
            shapes = [tuple(shape.dim) for shape in parameter.shape]
            return self._for_each_top("shape", shapes)
        if parameter.shape:
            raise self.error("give either shape or num, channels, height and width, not both")
        dims = [
            self._for_each_top(name, list(values))
            for name, values in zip(_LEGACY_DIMS, legacy, strict=True)
        ]
        return list(zip(*dims, strict=True))

    def _for_each_top(self, name: str, given: list[Any]) -> list[Any]:
        if len(given) not in (1, self.top_count):
            raise self.error(
                f"expected {name} once, or once for each of the {self.top_count} tops, "
                f"found it {len(given)} time(s)"
            )
        return given * self.top_count if len(given) == 1 else given

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        return list(self._shapes)

    def forward_blobs(self) -> None:
        for index in range(len(self.top_blobs)):
            if not self._is_constant(index):
                self._fill(index)

    def _is_constant(self, index: int) -> bool:
        return bool(self._fillers[index].type == "constant")

    def _fill(self, index: int) -> None:
        generator = context.generator(self.top_blobs[index].device)
        self.top_blobs[index].set_data(self._filled(index, generator))

    def _filled(self, index: int, generator: torch.Generator) -> torch.Tensor:
        values = torch.empty(self.top_blobs[index].shape, device=generator.device)
        try:
            fillers.fill(values, self._fillers[index], generator)
        except LayerError as error:
            raise self.error(str(error)) from None
        return values
