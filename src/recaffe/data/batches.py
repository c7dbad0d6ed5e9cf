"""Batches of transformed images and labels."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from recaffe.data import datum
from recaffe.data.transformer import Transformer
from recaffe.errors import DataError

Batch = tuple[Tensor, Tensor]


class Sample(NamedTuple):
    """An image ``(C, H, W)`` as it is stored, its label, and where it came from, for errors."""

    image: np.ndarray
    label: float
    place: str


class Batches:
    """One batch a call of :meth:`load`, in the order of ``samples``, which have no end.

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
        self, samples: Iterator[Sample], batch_size: int, transformer: Transformer
    ) -> None:
        first = next(samples)
        self._samples = itertools.chain([first], samples)
        self.batch_size = batch_size
        self._transformer = transformer
        self.image_shape = self._output_shape(first)

    def load(self) -> Batch:
        """The next batch: images ``(batch_size, C, H, W)`` and labels ``(batch_size,)``.

        The first image says what shape the batch has, so that batches of one may differ.
        """
        images = np.empty(0, np.float32)
        labels = np.empty(self.batch_size, np.float32)
        stored: tuple[int, ...] = ()
        output: tuple[int, ...] = ()
        for index in range(self.batch_size):
            sample = next(self._samples)
            if not index:
                stored, output = sample.image.shape, self._output_shape(sample)
                images = np.empty((self.batch_size, *output), np.float32)
            elif sample.image.shape != stored:
                self._check_fit(sample, stored, output)
            labels[index] = sample.label
            self._transformer.transform(sample.image, images[index])
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


def records(
    items: Iterable[tuple[bytes, bytes]], source: str, color: bool | None
) -> Iterator[Sample]:
    """The images in Datum records of ``source``; encoded ones are decoded as ``color`` says."""
    for key, value in items:
        place = f"{source}, key {key.decode(errors='replace')}"
        record = datum.parse(value, place)
        yield Sample(datum.to_array(record, place, color), record.label, place)
