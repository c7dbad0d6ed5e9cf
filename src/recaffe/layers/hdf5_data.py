"""HDF5Data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from recaffe.context import context
from recaffe.data.hdf5_rows import Hdf5Rows, read_file_names
from recaffe.data.share import share_of
from recaffe.layers.base import Layer, Shape, register
from recaffe.layers.prefetching import random_seed
from recaffe.log import tell


@register("HDF5Data")
class HDF5Data(Layer):
    """Batches of rows of HDF5 datasets: each top takes the dataset of its own name.

    ``source`` lists the files. Rows come in their order, file after file, and start over after
    the last; with ``shuffle`` the files come in a new order for each turn, and so do the rows
    of each file. Of several solvers that train together each reads its share of the rows.
    Datasets ``(rows, ...)`` of integers or floats give tops ``(batch_size, ...)`` as they are:
    there is no transformation.

    Source: ``hdf5_data_layer.cpp``.
    """

    bottoms = (0, 0)
    tops = (1, None)

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        parameter = self.param.hdf5_data_param
        if self.param.HasField("transform_param"):
            raise self.error("HDF5 data is not transformed: leave transform_param out")
        if parameter.batch_size < 1:
            raise self.error("batch_size must be at least 1")
        seed = random_seed()
        self._device = context.device
        tell("Loading list of HDF5 filenames from: %s", parameter.source)
        names = read_file_names(parameter.source)
        tell("Number of HDF5 files: %d", len(names))
        self._rows = Hdf5Rows(
            names,
            list(self.param.top),
            seed if parameter.shuffle else None,
            share_of(self.phase),
        )

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        batch_size = self.param.hdf5_data_param.batch_size
        return [(batch_size, *shape) for shape in self._rows.row_shapes]

    def run_state(self) -> dict[str, Any]:
        return self._rows.state()

    def set_run_state(self, state: Mapping[str, Any]) -> None:
        self._rows.set_state(state)

    def forward(self, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> list[Tensor]:
        batch = self._rows.take(self.param.hdf5_data_param.batch_size)
        return [torch.from_numpy(rows).to(self._device) for rows in batch]
