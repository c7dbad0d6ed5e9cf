"""Batches of transformed images and labels, made of the records of an LMDB."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from recaffe.data import datum
from recaffe.data.lmdb_reader import LmdbReader
from recaffe.data.transformer import Transformer
from recaffe.errors import DataError

Batch = tuple[Tensor, Tensor]


class LmdbBatches:
    """The batches of a Data layer, one a call of :meth:`load`, in the order of the keys.

    Args:
        parameter: the layer's LayerParameter.
        phase: TRAIN or TEST.
        seed: of random crops and mirrors.

    Raises:
        DataError: no such LMDB, or images that do not fit the transformation.
    """

    def __init__(self, parameter: Any, phase: int, seed: int) -> None:
        self._owner: str = parameter.name
        self.batch_size: int = parameter.data_param.batch_size
        self._reader = LmdbReader(parameter.data_param.source)
        self._transformer = Transformer(parameter.transform_param, phase, seed, self._owner)
        self._records = iter(self._reader)
        key, value = next(iter(self._reader))
        self._stored_shape = self._image(key, value)[0].shape
        self.image_shape = self._transformer.output_shape(self._stored_shape)

    def load(self) -> Batch:
        """The next batch: images ``(batch_size, C, H, W)`` and labels ``(batch_size,)``."""
        images = np.empty((self.batch_size, *self.image_shape), np.float32)
        labels = np.empty(self.batch_size, np.float32)
        for index in range(self.batch_size):
            key, value = next(self._records)
            image, labels[index] = self._image(key, value)
            if image.shape != self._stored_shape:
                self._check_fit(key, image.shape)
            self._transformer.transform(image, images[index])
        return torch.from_numpy(images), torch.from_numpy(labels)

    def _check_fit(self, key: bytes, shape: tuple[int, ...]) -> None:
        """Whether an image of another size than the first one gives the same output's shape."""
        try:
            if self._transformer.output_shape(shape) == self.image_shape:
                return
            found = f"layer '{self._owner}': output {self.image_shape} is needed"
        except DataError as error:
            found = str(error)
        raise DataError(
            f"{self._place(key)}: an image of {shape}, the first one has {self._stored_shape}; "
            f"store all images in one size, or set crop_size ({found})"
        )

    def _image(self, key: bytes, value: bytes) -> tuple[np.ndarray, int]:
        record = datum.parse(value, self._place(key))
        return datum.to_array(record, self._place(key), self._transformer.color), record.label

    def _place(self, key: bytes) -> str:
        return f"{self._reader.source}, key {key.decode(errors='replace')}"
