"""WindowData."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import torch

from recaffe.data import datum
from recaffe.data.batches import Batch
from recaffe.data.images import read_image
from recaffe.data.resume import Drawing
from recaffe.data.transformer import read_mean
from recaffe.data.windows import Cropper, Window, read_window_file
from recaffe.errors import DataError
from recaffe.layers.base import register
from recaffe.layers.data import warn_of_skipped
from recaffe.layers.prefetching import Prefetching, random_seed, size_of
from recaffe.log import tell

logger = logging.getLogger(__name__)

_CHANNELS = 3


@register("WindowData")
class WindowData(Prefetching):
    """Batches of windows drawn from images, warped to squares, and their labels.

    Of each batch ``fg_fraction``, rounded down, are windows that overlap with an object by
    ``fg_threshold`` or more, behind the others: background, labelled 0, which overlap by less
    than ``bg_threshold``. Each is drawn with equal probability. A square shows ``context_pad``
    pixels around the window on each side; what is outside the image stays 0. The pixel is
    ``(value - mean) scale`` with the ``scale`` of ``window_data_param``, as in Caffe, while
    ``crop_size``, ``mirror`` and the mean are those of ``transform_param``. Of a ``mean_file``
    the middle is used.
    Shapes: data ``(batch_size, 3, crop_size, crop_size)``; labels ``(batch_size,)``.

    Source: ``window_data_layer.cpp``; Girshick et al. 2014.
    """

    def make_source(self) -> WindowBatches:
        parameter, transform = self.param.window_data_param, self.param.transform_param
        self.check_batch_size(parameter.batch_size)
        if transform.crop_size < 1:
            raise self.error("transform_param.crop_size must be at least 1")
        if 2 * parameter.context_pad >= transform.crop_size:
            raise self.error(
                f"context_pad {parameter.context_pad} on each side leaves nothing of a "
                f"crop_size of {transform.crop_size}"
            )
        if not 0 <= parameter.fg_fraction <= 1:
            raise self.error(f"fg_fraction must be from 0 to 1, found {parameter.fg_fraction:g}")
        warn_of_skipped(self, parameter, ("mean_file", "crop_size", "mirror"))
        warn_of_skipped(self, transform, ("scale", "force_color", "force_gray"))
        if parameter.crop_mode not in ("warp", "square"):
            logger.warning(
                "layer '%s' (%s): crop_mode '%s' is taken for warp, as in Caffe; known: warp, "
                "square", self.name, self.type, parameter.crop_mode,
            )  # fmt: skip
        batches = WindowBatches(self)
        tell("output data size: %s", size_of(batches))
        return batches


class WindowBatches(Drawing):
    """The batches of a WindowData layer.

    Raises:
        DataError: a window file, an image or a mean that does not fit.
    """

    def __init__(self, layer: WindowData) -> None:
        parameter, transform = layer.param.window_data_param, layer.param.transform_param
        size = transform.crop_size
        self.batch_size: int = parameter.batch_size
        self.image_shape: tuple[int, ...] = (_CHANNELS, size, size)
        self._source = parameter.source
        self._windows = read_window_file(
            parameter.source, parameter.root_folder, parameter.fg_threshold, parameter.bg_threshold
        )
        if self._windows.channels != _CHANNELS:
            raise DataError(
                f"{parameter.source}: images are read in colour, so their channels are "
                f"{_CHANNELS}, found {self._windows.channels}"
            )
        self._foreground = int(np.float32(self.batch_size) * np.float32(parameter.fg_fraction))
        self._cropper = Cropper(size, parameter.context_pad, parameter.crop_mode == "square")
        self._mirror: bool = transform.mirror
        self._scale = np.float32(parameter.scale)
        self._mean = self._middle(read_mean(transform, layer.name), layer.name)
        super().__init__(random_seed())
        self._cache: list[bytes] | None = None
        if parameter.cache_images:
            self._cache = [_content(path) for path in self._windows.images]

    def _middle(self, mean: np.ndarray | None, owner: str) -> np.ndarray | None:
        """The part of a mean image that is taken from the squares; a value a channel as it is."""
        if mean is None or mean.shape in ((1, 1, 1), (_CHANNELS, 1, 1)):
            return mean
        size = self.image_shape[1]
        start = (mean.shape[2] - size) // 2
        end = start + size
        if mean.shape[0] != _CHANNELS or start < 0 or end > min(mean.shape[1:]):
            raise DataError(
                f"layer '{owner}': a mean of the shape {mean.shape} does not cover squares of "
                f"{self.image_shape}"
            )
        return mean[:, start:end, start:end]

    def load(self) -> Batch:
        """The next batch: the background's windows, then those of objects."""
        images = np.zeros((self.batch_size, *self.image_shape), np.float32)
        labels = np.empty(self.batch_size, np.float32)
        for index in range(self.batch_size):
            is_background = index < self.batch_size - self._foreground
            windows = self._windows.background if is_background else self._windows.foreground
            window = windows[self._random.integers(len(windows))]
            self._write(window, images[index])
            labels[index] = window.label
        return torch.from_numpy(images), torch.from_numpy(labels)

    def _write(self, window: Window, out: np.ndarray) -> None:
        path = self._windows.images[window.image]
        mirror = self._mirror and bool(self._random.integers(2))
        try:
            warped, row, column = self._cropper.crop(self._image(window.image), window, mirror)
        except DataError as error:
            raise DataError(f"{self._source}, image {window.image} ({path}): {error}") from None
        rows = slice(row, row + warped.shape[0])
        columns = slice(column, column + warped.shape[1])
        target = out[:, rows, columns]
        target[...] = warped.transpose(2, 0, 1)
        if self._mean is not None:
            covers = self._mean.shape[1:] == out.shape[1:]
            target -= self._mean[:, rows, columns] if covers else self._mean
        target *= self._scale

    def _image(self, index: int) -> np.ndarray:
        path = self._windows.images[index]
        image = (
            read_image(path)
            if self._cache is None
            else datum.decode(self._cache[index], path, color=True)
        )
        return image.transpose(1, 2, 0)


def _content(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot read the image: {error.strerror}") from None
