"""MemoryData."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recaffe.context import context
from recaffe.data import datum
from recaffe.data.transformer import Transformer
from recaffe.layers.base import Layer, Shape, register
from recaffe.layers.prefetching import random_seed


@register("MemoryData")
class MemoryData(Layer):
    """Batches of arrays that a program gives by :meth:`reset` or :meth:`add_datums`.

    Each forward takes the next batch; after the last one the first comes again.
    Shapes: data ``(batch_size, channels, height, width)``; labels ``(batch_size,)``, and
    ``(batch_size, 1, 1, 1)`` after a forward.

    Source: ``memory_data_layer.cpp``.
    """

    bottoms = (0, 0)
    tops = (2, 2)

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        parameter = self.param.memory_data_param
        self.batch_size: int = parameter.batch_size
        self.image_shape: Shape = (parameter.channels, parameter.height, parameter.width)
        if not self.batch_size * math.prod(self.image_shape):
            raise self.error(
                "memory_data_param needs batch_size, channels, height and width, each at least 1"
            )
        self._device = context.device
        self._transformer = Transformer(
            self.param.transform_param, self.phase, random_seed(), self.name
        )
        self._data: np.ndarray | None = None
        self._labels: np.ndarray | None = None
        self._position = 0
        self._unread = False

    def reset(self, data: np.ndarray, labels: np.ndarray) -> None:
        """Take ``data`` ``(n, channels, height, width)`` and its ``n`` labels, from the first on.

        The arrays are not copied or transformed: what is written to them later is what later
        batches hold.

        Raises:
            LayerError: other shapes or types, or not a whole number of batches.
        """
        for name, array, shape in (("data", data, self.image_shape), ("labels", labels, (1, 1, 1))):
            if not array.flags.c_contiguous:
                raise self.error(f"{name} must be C contiguous; np.ascontiguousarray makes it so")
            if array.dtype != np.float32 or array.shape[1:] != shape:
                raise self.error(
                    f"expected {name} of float32 and the shape {['n', *shape]}, found "
                    f"{array.dtype} and {list(array.shape)}"
                )
        if not len(data) or len(data) != len(labels) or len(data) % self.batch_size:
            raise self.error(
                f"expected as many labels as images, and a multiple of the batch_size "
                f"{self.batch_size} of them; found {len(data)} images and {len(labels)} labels"
            )
        self._data, self._labels, self._position = data, labels, 0

    def add_datums(self, datums: Sequence[Any]) -> None:
        """Take the images of Datum messages, transformed, and their labels.

        Raises:
            LayerError: none, not a whole number of batches, or while earlier ones wait.
            DataError: an image that does not fit the layer.
        """
        self._check_consumed("add data")
        if not datums or len(datums) % self.batch_size:
            raise self.error(
                f"expected a multiple of the batch_size {self.batch_size}, found {len(datums)} "
                "datum(s)"
            )
        data = np.empty((len(datums), *self.image_shape), np.float32)
        for index, given in enumerate(datums):
            image = datum.to_array(given, f"datum {index}", self._transformer.color)
            shape = self._transformer.output_shape(image.shape)
            if shape != self.image_shape:
                raise self.error(
                    f"datum {index}: expected {list(self.image_shape)} once transformed, found "
                    f"{list(shape)}"
                )
            self._transformer.transform(image, data[index])
        labels = np.array([given.label for given in datums], np.float32)
        self.reset(data, labels.reshape(-1, 1, 1, 1))
        self._unread = True

    def set_batch_size(self, batch_size: int) -> None:
        """Change the batches' size, for data that is given after it."""
        self._check_consumed("change the batch size")
        if batch_size < 1:
            raise self.error(f"batch_size must be at least 1, found {batch_size}")
        self.batch_size = batch_size
        self._data = self._labels = None

    def _check_consumed(self, what: str) -> None:
        if self._unread:
            raise self.error(f"cannot {what} before a forward has read all that was added")

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        labels = (self.batch_size,) if self._labels is None else (self.batch_size, 1, 1, 1)
        return [(self.batch_size, *self.image_shape), labels]

    def forward(self, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> list[Tensor]:
        if self._data is None or self._labels is None:
            raise self.error("no data yet: call net.set_input_arrays(data, labels) first")
        batch = slice(self._position, self._position + self.batch_size)
        self._position = (self._position + self.batch_size) % len(self._data)
        self._unread = self._unread and self._position != 0
        # Copied, so that a batch stays what it was when it was taken.
        return [
            torch.tensor(array[batch], device=self._device) for array in (self._data, self._labels)
        ]
