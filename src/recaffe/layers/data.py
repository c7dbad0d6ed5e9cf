"""Data, the layer that reads an LMDB."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from recaffe.context import CPU, context
from recaffe.data.batches import Batch, LmdbBatches
from recaffe.data.prefetch import Prefetcher
from recaffe.layers.base import Layer, Shape, register


@register("Data")
class Data(Layer):
    """Batches of images, transformed, and their labels, from an LMDB of Datum records.

    Records come in key order and start over after the last, across epochs and, in a test
    net, across tests. Shapes: data ``(batch_size, C, H, W)``; labels ``(batch_size,)``.

    Source: ``data_layer.cpp``.
    """

    bottoms = (0, 0)
    tops = (1, 2)

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        parameter = self.param.data_param
        if parameter.backend != parameter.LMDB:
            raise self.error(
                "backend LEVELDB is not supported (it is the default: did the prototxt leave "
                "out 'backend: LMDB'?); convert_imageset or caffetools.lmdb write an LMDB"
            )
        if parameter.batch_size < 1:
            raise self.error("data_param.batch_size must be at least 1")
        if parameter.prefetch < 1:
            raise self.error("data_param.prefetch must be at least 1")
        self._device = context.device
        seed = torch.randint(2**62, (), generator=context.generator(CPU))
        self._batches = LmdbBatches(self.param, self.phase, int(seed))
        self._prefetcher: Prefetcher[Batch] | None = None

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        batch_size = self._batches.batch_size
        shapes: list[Shape] = [(batch_size, *self._batches.image_shape), (batch_size,)]
        return shapes[: len(self.param.top)]

    def forward(self, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> list[Tensor]:
        if self._prefetcher is None:
            self._prefetcher = Prefetcher(self._batches.load, self.param.data_param.prefetch)
        batch = self._prefetcher.next()[: len(self.param.top)]
        return [tensor.to(self._device, non_blocking=True) for tensor in batch]
