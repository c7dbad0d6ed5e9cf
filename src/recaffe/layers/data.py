"""Data, the layer that reads a database."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterable, Sequence
from typing import Any

from recaffe.data.batches import Batches, Buffer, records
from recaffe.data.leveldb_reader import LeveldbReader
from recaffe.data.lmdb_reader import LmdbReader
from recaffe.data.share import share_of
from recaffe.errors import DataError
from recaffe.layers.base import Layer, register
from recaffe.layers.prefetching import Prefetching, size_of
from recaffe.log import tell

logger = logging.getLogger(__name__)

_SKIPPED = ("rand_skip", "scale", "mean_file", "crop_size", "mirror", "force_encoded_color")
_INSTEAD = (
    "transform_param has scale, mean_file, crop_size, mirror, force_color and force_gray, but "
    "WindowData takes its scale from window_data_param"
)


@register("Data")
class Data(Prefetching):
    """Batches of images, transformed, and their labels, from a database of Datum records.

    Records come in key order and start over after the last, across epochs and, in a test
    net, across tests. Of several solvers that train together each reads its share of them.
    Shapes: data ``(batch_size, C, H, W)``; labels ``(batch_size,)``.
    Fields of ``data_param`` that Caffe 1.0 reads no more are told of and skipped.

    Source: ``data_layer.cpp``.
    """

    tops = (1, 2)

    def __init__(self, param: Any, phase: int) -> None:
        super().__init__(param, phase)
        parameter = param.data_param
        self.check_batch_size(parameter.batch_size)
        # As early as Caffe does, which tells of it before it tells of the layer.
        kind = LmdbReader if parameter.backend == parameter.LMDB else LeveldbReader
        try:
            self._reader = kind(parameter.source)
        except DataError as error:
            raise self.error(str(error)) from error
        is_lmdb = kind is LmdbReader
        tell("Opened lmdb %s" if is_lmdb else "Opened leveldb %s", parameter.source)

    def make_source(self) -> Batches:
        parameter = self.param.data_param
        warn_of_skipped(self, parameter, _SKIPPED)
        share, transformer = share_of(self.phase), self.make_transformer()
        reader: Iterable[tuple[Buffer, Buffer]] = self._reader
        own = itertools.islice(reader, share.rank, None, share.count)
        samples = records(own, parameter.source, transformer.color)
        batches = Batches(samples, parameter.batch_size, transformer)
        tell("output data size: %s", size_of(batches))
        return batches


def warn_of_skipped(layer: Layer, parameter: Any, names: Sequence[str]) -> None:
    """Tell of fields that are set, but which Caffe 1.0 does not read in this layer."""
    if found := [name for name in names if parameter.HasField(name)]:
        logger.warning(
            "layer '%s' (%s): %s of %s has no effect, as in Caffe 1.0; %s",
            layer.name, layer.type, ", ".join(found), parameter.DESCRIPTOR.name, _INSTEAD,
        )  # fmt: skip
