"""What layers share that read images ahead of the net."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor

from recaffe.context import CPU, context
from recaffe.data.prefetch import Prefetcher
from recaffe.data.transformer import Transformer
from recaffe.layers.base import Layer, Shape


class Source(Protocol):
    """Makes batches: images ``(N, *image_shape)`` and labels ``(N,)``, or what else the tops are.

    :meth:`state` tells of what the next batch follows from, for another source to go on.
    """

    batch_size: int
    image_shape: tuple[int, ...]

    def load(self) -> tuple[Tensor, ...]: ...

    def state(self) -> dict[str, Any]: ...

    def set_state(self, state: Mapping[str, Any]) -> None: ...


class Prefetching(Layer):
    """A layer whose batches a thread prepares while the net computes.

    Attributes:
        depth: how many batches are kept ready. Caffe takes it from ``data_param.prefetch``
            for all such layers.

    Source: ``base_data_layer.cpp``.
    """

    bottoms = (0, 0)
    tops = (2, 2)

    @abstractmethod
    def make_source(self) -> Source:
        """Check the parameters and open what there is to read."""

    def __init__(self, param: Any, phase: int) -> None:
        super().__init__(param, phase)
        self.depth: int = param.data_param.prefetch
        if self.depth < 1:
            raise self.error("data_param.prefetch must be at least 1")

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        self._device = context.device
        self._source = self.make_source()
        self._state = self._source.state()
        self._prefetcher: Prefetcher[tuple[tuple[Tensor, ...], dict[str, Any]]] | None = None

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        batch_size = self._source.batch_size
        shapes: list[Shape] = [(batch_size, *self._source.image_shape), (batch_size,)]
        return shapes[: len(self.param.top)]

    def forward(self, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> list[Tensor]:
        if self._prefetcher is None:
            self._prefetcher = Prefetcher(partial(_load, self._source), self.depth)
        batch, self._state = self._prefetcher.next()
        tops = batch[: len(self.param.top)]
        return [tensor.to(self._device, non_blocking=True) for tensor in tops]

    def run_state(self) -> dict[str, Any]:
        """After the batches that the net has taken, not those that are kept ready."""
        return self._state

    def set_run_state(self, state: Mapping[str, Any]) -> None:
        self._close()
        self._source.set_state(state)
        self._state = self._source.state()

    def replace_source(self, source: Source) -> None:
        """Take batches from another source from now on."""
        self._close()
        self._source = source
        self._state = source.state()

    def _close(self) -> None:
        if self._prefetcher is not None:
            self._prefetcher.close()
            self._prefetcher = None

    def check_batch_size(self, batch_size: int) -> None:
        if batch_size < 1:
            raise self.error("batch_size must be at least 1")

    def make_transformer(self) -> Transformer:
        """What ``transform_param`` says, with random numbers of its own."""
        return Transformer(self.param.transform_param, self.phase, random_seed(), self.name)


def _load(source: Source) -> tuple[tuple[Tensor, ...], dict[str, Any]]:
    return source.load(), source.state()


def size_of(source: Source) -> str:
    """The shape of a batch of images, as Caffe tells it."""
    return ",".join(map(str, (source.batch_size, *source.image_shape)))


def random_seed() -> int:
    """For generators of other threads, so that they draw alike from one ``random_seed``."""
    return int(torch.randint(2**62, (), generator=context.generator(CPU)))
