"""Rows of HDF5 files, one after the other, over and over."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from recaffe.data.share import ALL, Share
from recaffe.errors import DataError, FormatError
from recaffe.proto.hdf5 import read_arrays


def read_file_names(source: str) -> list[str]:
    """The names in a list, parted by white space.

    Raises:
        DataError: no such list, or an empty one.
    """
    try:
        names = Path(source).read_bytes().decode(errors="surrogateescape").split()
    except OSError as error:
        raise DataError(
            f"{source}: cannot read the list of HDF5 files: {error.strerror}; paths in a prototxt "
            "are relative to the working directory. Is this a list, and no HDF5 file itself?"
        ) from None
    if not names:
        raise DataError(f"{source}: lists no HDF5 file; write the name of one on each line")
    return names


class Hdf5Rows:
    """The rows of datasets of one length, file after file, and again from the first.

    Args:
        files: names of files, read one at a time as their turn comes.
        datasets: names of the datasets, each of which has a row for each item.
        random: if given, orders the files anew for each turn, and the rows of each file.
        share: which of the rows are read; by default all.

    Attributes:
        row_shapes: of each dataset's rows.

    Raises:
        DataError: a file that cannot be read, or whose datasets do not fit.
    """

    def __init__(
        self,
        files: Sequence[str],
        datasets: Sequence[str],
        random: np.random.Generator | None,
        share: Share = ALL,
    ) -> None:
        self._share, self._passed = share, 0
        self._files, self._datasets, self._random = list(files), list(datasets), random
        self._file, self._row = 0, 0
        self._file_order = self._order(len(files))
        self._arrays = self._load()
        self.row_shapes = [array.shape[1:] for array in self._arrays]
        self._row_order = self._own_rows()

    def take(self, count: int) -> list[np.ndarray]:
        """The next ``count`` rows of each dataset."""
        batch = [np.empty((count, *shape), np.float32) for shape in self.row_shapes]
        done = 0
        while done < count:
            chosen = self._row_order[self._row : self._row + count - done]
            for rows, array in zip(batch, self._arrays, strict=True):
                np.take(array, chosen, axis=0, out=rows[done : done + len(chosen)])
            done += len(chosen)
            self._row += len(chosen)
            # Caffe opens the next file as soon as a file's last row is taken.
            if self._row == len(self._row_order):
                self._next_file()
        return batch

    def _next_file(self) -> None:
        self._row = 0
        if len(self._files) > 1:
            self._file = (self._file + 1) % len(self._files)
            if not self._file:
                self._file_order = self._order(len(self._files))
            self._arrays = self._load()
            found = [array.shape[1:] for array in self._arrays]
            if found != self.row_shapes:
                raise DataError(
                    f"{self._name()}: expected rows of the shapes {self.row_shapes} as in the "
                    f"first file, found {found}"
                )
        self._row_order = self._own_rows()

    def _own_rows(self) -> np.ndarray:
        """The rows of the file that is open which are this reader's, in their order."""
        order = self._order(len(self._arrays[0]))
        own = order[self._share.of_rows(self._passed)]
        self._passed += len(order)
        return own

    def _order(self, count: int) -> np.ndarray:
        return np.arange(count) if self._random is None else self._random.permutation(count)

    def _name(self) -> str:
        return self._files[self._file_order[self._file]]

    def _load(self) -> list[np.ndarray]:
        name = self._name()
        try:
            arrays = read_arrays(name, self._datasets)
        except FormatError as error:
            raise DataError(str(error)) from None
        shapes = dict(zip(self._datasets, (array.shape for array in arrays), strict=True))
        if any(not shape for shape in shapes.values()) or len({s[0] for s in shapes.values()}) > 1:
            raise DataError(f"{name}: expected datasets with one row for each item, found {shapes}")
        if not arrays[0].size or min(array.size for array in arrays) == 0:
            raise DataError(f"{name}: a dataset is empty: {shapes}")
        return arrays
