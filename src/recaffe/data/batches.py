"""Batches of transformed images and labels."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from recaffe.data import datum
from recaffe.data.threads import side_by_side
from recaffe.data.transformer import Transformer
from recaffe.errors import DataError

Batch = tuple[Tensor, Tensor]
Buffer = bytes | memoryview
# Bytes of a batch above which its images are worth the handing over to other threads.
_LARGE = 1 << 22


class Sample(NamedTuple):
    """An image ``(C, H, W)`` as it is stored, its label, and where it came from, for errors."""

    image: np.ndarray
    label: float
    place: str


# Reads a sample when it is called, in whatever thread.
Reading = Callable[[], Sample]


class Batches:
    """One batch a call of :meth:`load`, in the order of ``samples``, which have no end.

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

    def __init__(
        self, samples: Iterator[Reading], batch_size: int, transformer: Transformer
    ) -> None:
        first = next(samples)
        self._samples = itertools.chain([first], samples)
        self.batch_size = batch_size
        self._transformer = transformer
        self.image_shape = self._output_shape(first())

    def load(self) -> Batch:
        """The next batch: images ``(batch_size, C, H, W)`` and labels ``(batch_size,)``.

        The first image says what shape the batch has, so that batches of one may differ.
        """
        readings = list(itertools.islice(self._samples, self.batch_size))
        is_large = 4 * self.batch_size * math.prod(self.image_shape) >= _LARGE
        each = side_by_side if is_large else _one_by_one
        samples = each(_call, readings)
        output = self._output_shape(samples[0])
        for sample in samples[1:]:
            if sample.image.shape != samples[0].image.shape:
                self._check_fit(sample, samples[0].image.shape, output)
        images = np.empty((self.batch_size, *output), np.float32)
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


def _one_by_one(function: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
    return [function(item) for item in items]


def _call(reading: Reading) -> Sample:
    return reading()


def records(
    items: Iterable[tuple[Buffer, Buffer]], source: str, color: bool | None
) -> Iterator[Reading]:
    """The images in Datum records of ``source``; encoded ones are decoded as ``color`` says."""
    for key, value in items:
        yield partial(_record, key, value, source, color)


def _record(key: Buffer, value: Buffer, source: str, color: bool | None) -> Sample:
    place = f"{source}, key {bytes(key).decode(errors='replace')}"
    record = datum.parse(value, place)
    return Sample(datum.to_array(record, place, color), record.label, place)
