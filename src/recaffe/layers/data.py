"""Data, the layer that reads a database."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from recaffe.context import context
from recaffe.data.batches import Batches
from recaffe.data.database import DatabaseSamples
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
    With ``shuffle``, which is Recaffe's own and for LMDBs, they come in a new order for each
    turn; that follows from ``random_seed`` alone, so that several such layers, of images and
    of label vectors, keep in step.
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
        kind: Any = LmdbReader if parameter.backend == parameter.LMDB else LeveldbReader
        try:
            self._reader: LmdbReader | LeveldbReader = kind(parameter.source)
        except DataError as error:
            raise self.error(str(error)) from error
        is_lmdb = kind is LmdbReader
        tell("Opened lmdb %s" if is_lmdb else "Opened leveldb %s", parameter.source)

    def make_source(self) -> Batches:
        parameter = self.param.data_param
        warn_of_skipped(self, parameter, _SKIPPED)
        share, transformer = share_of(self.phase), self.make_transformer()
        seed = self._shuffle_seed() if parameter.shuffle else None
        samples = DatabaseSamples(self._reader, share, seed, transformer.color)
        batches = Batches(samples, parameter.batch_size, transformer)
        tell("output data size: %s", size_of(batches))
        return batches

    def _shuffle_seed(self) -> int:
        if not isinstance(self._reader, LmdbReader):
            raise self.error(
                "shuffle needs an LMDB, since a LevelDB is read in key order only; write the "
                "images to an LMDB and say backend: LMDB"
            )
        if context.solver_count > 1 and not context.is_seeded:
            raise self.error(
                "solvers that train together must shuffle alike: set random_seed in the solver"
            )
        return context.shared_seed


def warn_of_skipped(layer: Layer, parameter: Any, names: Sequence[str]) -> None:
    """Tell of fields that are set, but which Caffe 1.0 does not read in this layer."""
    if found := [name for name in names if parameter.HasField(name)]:
        logger.warning(
            "layer '%s' (%s): %s of %s has no effect, as in Caffe 1.0; %s",
            layer.name, layer.type, ", ".join(found), parameter.DESCRIPTOR.name, _INSTEAD,
        )  # fmt: skip
