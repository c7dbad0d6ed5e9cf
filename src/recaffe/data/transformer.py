"""The transformation of images on their way into a net."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import cv2
import numpy as np

from recaffe.data.augmentation import Augmentation, Change
from recaffe.data.resume import Drawing
from recaffe.errors import DataError
from recaffe.log import tell
from recaffe.proto.schema import TRAIN
from recaffe.proto.weights import read_blob


class Draw(NamedTuple):
    """How the image is changed beforehand, what is cropped, and whether it is mirrored."""

    change: Change | None
    rows: slice
    columns: slice
    mirrored: bool


class Transformer(Drawing):
    """``out = (crop(image) - mean) scale``, with ``mirror`` half of them mirrored, in TEST too.

    With ``crop_size``, TRAIN crops at a random place and TEST in the middle. The mean is
    an image (``mean_file``), cropped at the same place, or a value a channel. With
    ``augmentation``, which is Recaffe's own, TRAIN changes the images before all that.

    Source: ``data_transformer.cpp``.

    Args:
        parameter: a TransformationParameter.
        phase: TRAIN or TEST.
        seed: of the random crops and mirrors.
        owner: the layer's name, for errors.
    """

    def __init__(self, parameter: Any, phase: int, seed: int, owner: str) -> None:
        super().__init__(seed)
        self.crop_size: int = parameter.crop_size
        self.mirror: bool = parameter.mirror
        self.scale = np.float32(parameter.scale)
        self.is_training = phase == TRAIN
        self.color = _forced_color(parameter, owner)
        self._augmentation: Augmentation | None = None
        if parameter.HasField("augmentation"):
            augmentation = Augmentation(parameter.augmentation, owner)
            self._augmentation = augmentation if self.is_training else None
        self._owner = owner
        self._mean = read_mean(parameter, owner)
        self._mean_file: str = parameter.mean_file

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape ``(C, H, W)`` after the transformation of images of ``shape``.

        Raises:
            DataError: the images are smaller than the crop, or do not fit the mean.
        """
        channels, height, width = shape
        if self.crop_size > min(height, width):
            raise DataError(
                f"layer '{self._owner}': crop_size {self.crop_size} is larger than the images, "
                f"{height}x{width}; lower crop_size or store larger images"
            )
        self._check_mean(shape)
        size = self.crop_size
        return (channels, size, size) if size else shape

    def _check_mean(self, shape: tuple[int, ...]) -> None:
        if self._mean is None:
            return
        mean = self._mean.shape
        if self._mean_file and mean != shape:
            raise DataError(
                f"layer '{self._owner}': the mean image {self._mean_file} has the shape "
                f"{mean}, the images have {shape}; make it anew from these images"
            )
        if not self._mean_file and mean[0] not in (1, shape[0]):
            raise DataError(
                f"layer '{self._owner}': {mean[0]} mean_value for images of {shape[0]} channels; "
                "give one, or one a channel"
            )

    def transform(self, image: np.ndarray, out: np.ndarray) -> None:
        """Write the transformed ``image`` ``(C, H, W)`` to ``out``, of the output's shape."""
        self.apply(self.draw(image.shape), image, out)

    def draw(self, shape: tuple[int, ...]) -> Draw:
        """What is random about the transformation of the next image, of ``shape``."""
        augmentation = self._augmentation
        change = augmentation.draw(self._random, shape) if augmentation else None
        rows, columns = self._window(shape[1:])
        return Draw(change, rows, columns, self.mirror and bool(self._random.integers(2)))

    def apply(self, draw: Draw, image: np.ndarray, out: np.ndarray) -> None:
        """:meth:`transform` with what was drawn for the image; in whatever thread."""
        if self._augmentation and draw.change:
            image = self._augmentation.apply(draw.change, image)
        cropped = image[:, draw.rows, draw.columns]
        if self._mean is None:
            out[...] = cropped
        else:
            mean = self._mean[:, draw.rows, draw.columns] if self._mean_file else self._mean
            np.subtract(cropped, mean, out=out, dtype=np.float32)
        if draw.mirrored:
            # Afterwards and by OpenCV: NumPy takes twice as long to write backwards.
            lines = out.reshape(-1, out.shape[2])
            cv2.flip(lines, 1, lines)
        if self.scale != 1:
            out *= self.scale

    def _window(self, size: tuple[int, ...]) -> tuple[slice, slice]:
        if not self.crop_size:
            return slice(None), slice(None)
        spare = [length - self.crop_size for length in size]
        if self.is_training:
            row, column = (int(self._random.integers(length + 1)) for length in spare)
        else:
            row, column = (length // 2 for length in spare)
        return slice(row, row + self.crop_size), slice(column, column + self.crop_size)


def _forced_color(parameter: Any, owner: str) -> bool | None:
    if parameter.force_color and parameter.force_gray:
        raise DataError(f"layer '{owner}': set force_color or force_gray, not both")
    if parameter.force_color or parameter.force_gray:
        return bool(parameter.force_color)
    return None


def read_mean(parameter: Any, owner: str) -> np.ndarray | None:
    """``mean_file`` as ``(C, H, W)`` or ``mean_value`` as ``(C, 1, 1)``; None without either.

    Raises:
        DataError: both, or a file that holds no image.
        FormatError: no such file, or one that is not whole.
    """
    if parameter.mean_file and parameter.mean_value:
        raise DataError(f"layer '{owner}': set mean_file or mean_value, not both")
    if parameter.mean_file:
        tell("Loading mean file from: %s", parameter.mean_file)
        mean = read_blob(parameter.mean_file)
        shape = mean.shape[1:] if mean.ndim == 4 else mean.shape
        if len(shape) != 3 or mean.size != math.prod(shape):
            raise DataError(
                f"layer '{owner}': {parameter.mean_file} has the shape {list(mean.shape)}, "
                "expected one image: [channels, height, width]"
            )
        return np.array(mean, np.float32).reshape(shape)
    if parameter.mean_value:
        return np.array(parameter.mean_value, np.float32).reshape(-1, 1, 1)
    return None
