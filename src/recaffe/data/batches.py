"""Batches of transformed images and labels."""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from recaffe.data.resume import natural
from recaffe.data.threads import side_by_side
from recaffe.data.transformer import Transformer
from recaffe.errors import DataError

Batch = tuple[Tensor, Tensor]
# Bytes of a batch above which its images are worth the handing over to other threads.
_LARGE = 1 << 22
# Batches that are kept ready, and those that the net and its user look at.
_MOST_BUFFERS = 8


class Sample(NamedTuple):
    """An image ``(C, H, W)`` as it is stored, its label, and where it came from, for errors."""

    image: np.ndarray
    label: float
    place: str


# Reads a sample when it is called, in whatever thread.
Reading = Callable[[], Sample]


class Samples(Protocol):
    """Images in an order that has no end, from any place of it on.

    :meth:`state` tells of what was drawn for the order.

    Attributes:
        step: how many images of the order each of these stands for: of several solvers that
            train together, each reads its share.
    """

    step: int

    def start_at(self, position: int) -> Iterator[Reading]: ...

    def state(self) -> dict[str, Any]: ...

    def set_state(self, state: Mapping[str, Any]) -> None: ...


class Batches:
    """One batch a call of :meth:`load`, in the order of ``samples``.

    Large images are read, decoded and transformed in several threads; what is random is drawn in
    the samples' order.

    Args:
        samples: where the images come from.
        batch_size: images a batch.
        transformer: what to do to each of them.

    Attributes:
        image_shape: of the first image, transformed.

    Raises:
        DataError: no first sample, or one that does not fit the transformation.
    """

    def __init__(self, samples: Samples, batch_size: int, transformer: Transformer) -> None:
        self._samples, self._position = samples, 0
        self._readings = samples.start_at(0)
        self.batch_size = batch_size
        self._transformer = transformer
        self._buffers = _Buffers()
        self.image_shape = self._output_shape(next(samples.start_at(0))())

    def state(self) -> dict[str, Any]:
        """Where all solvers are, what was drawn for the order, and the random numbers."""
        position = {"position": self._position * self._samples.step}
        return {**position, **self._samples.state(), **self._transformer.state()}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what :meth:`state` gave.

        Raises:
            DataError: no such state.
        """
        position = natural(state, "position") // self._samples.step
        self._samples.set_state(state)
        self._transformer.set_state(state)
        self._position, self._readings = position, self._samples.start_at(position)

    def load(self) -> Batch:
        """The next batch: images ``(batch_size, C, H, W)`` and labels ``(batch_size,)``.

        The first image says what shape the batch has, so that batches of one may differ.
        """
        readings = list(itertools.islice(self._readings, self.batch_size))
        self._position += len(readings)
        is_large = 4 * self.batch_size * math.prod(self.image_shape) >= _LARGE
        each = side_by_side if is_large else _one_by_one
        samples = each(_call, readings)
        output = self._output_shape(samples[0])
        for sample in samples[1:]:
            if sample.image.shape != samples[0].image.shape:
                self._check_fit(sample, samples[0].image.shape, output)
        images = self._buffers.take((self.batch_size, *output))
        draws = [self._transformer.draw(sample.image.shape) for sample in samples]

        def transform(index: int) -> None:
            self._transformer.apply(draws[index], samples[index].image, images[index])

        each(transform, range(self.batch_size))
        labels = np.array([sample.label for sample in samples], np.float32)
        return torch.from_numpy(images), torch.from_numpy(labels)

    def _output_shape(self, sample: Sample) -> tuple[int, ...]:
        try:
            return self._transformer.output_shape(sample.image.shape)
        except DataError as error:
            raise DataError(f"{sample.place}: {error}") from None

    def _check_fit(self, sample: Sample, first: tuple[int, ...], output: tuple[int, ...]) -> None:
        """Whether an image of another size than the first one gives the same output's shape."""
        if self._output_shape(sample) != output:
            raise DataError(
                f"{sample.place}: an image of {sample.image.shape}, the batch's first one has "
                f"{first}; store all images in one size, or set crop_size (with a batch_size of "
                "1 they may differ)"
            )


class _Buffers:
    """Arrays that are given out again once nobody holds them any more.

    Of a fresh one all pages have to be found and cleared first.
    """

    def __init__(self) -> None:
        self._arrays: list[np.ndarray] = []

    def take(self, shape: tuple[int, ...]) -> np.ndarray:
        """An array of float32 whose content is anything."""
        if self._arrays and self._arrays[0].shape != shape:
            self._arrays = []
        for index, holders in enumerate(_holders(self._arrays)):
            if holders == _NOBODY:
                return self._arrays[index]
        fresh = np.empty(shape, np.float32)
        # Whoever keeps many batches keeps them alone.
        if len(self._arrays) < _MOST_BUFFERS:
            self._arrays.append(fresh)
        return fresh


def _holders(arrays: Sequence[np.ndarray]) -> list[int]:
    """How often each is referred to: by tensors and views too, and by this very look at it."""
    return [sys.getrefcount(array) for array in arrays]


(_NOBODY,) = _holders([np.empty(0)])


def _one_by_one(function: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
    return [function(item) for item in items]


def _call(reading: Reading) -> Sample:
    return reading()
