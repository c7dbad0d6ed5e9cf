"""Rows of HDF5 files, one after the other, over and over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from recaffe.data.order import turn_order
from recaffe.data.resume import natural
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
        seed: if given, of a new order of the files each turn, and of the rows of each file.
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
        seed: int | None,
        share: Share = ALL,
    ) -> None:
        self._share, self._passed = share, 0
        self._files, self._datasets, self._seed = list(files), list(datasets), seed
        self._turn, self._file, self._row = 0, 0, 0
        self._arrays = self._load()
        self.row_shapes = [array.shape[1:] for array in self._arrays]
        self._row_order = self._own_rows()

    def state(self) -> dict[str, Any]:
        """Where all solvers are: turn, file of it, row of that, rows passed before the file.

        And the orders' seed.
        """
        seed = {} if self._seed is None else {"seed": self._seed}
        row, passed = self._row * self._share.count, self._passed - len(self._arrays[0])
        row += self._share.of_rows(passed).start
        return {"turn": self._turn, "file": self._file, "row": row, "passed": passed, **seed}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what :meth:`state` gave.

        Raises:
            DataError: no such state.
        """
        turn, file, row, passed = (
            natural(state, name) for name in ("turn", "file", "row", "passed")
        )
        if file >= len(self._files):
            raise DataError(f"it is in file {file} of a list of {len(self._files)}")
        if self._seed is not None:
            self._seed = natural(state, "seed")
        self._turn, self._file = turn, file
        self._arrays = self._load()
        if row >= len(self._arrays[0]) + self._share.count:
            raise DataError(f"it is at row {row} of the {len(self._arrays[0])} of {self._name()}")
        self._passed = passed
        self._row_order = self._own_rows()
        self._row = len(range(self._share.of_rows(passed).start, row, self._share.count))
        # Of solvers that train together, one may have a row less of this file than another.
        if self._row >= len(self._row_order):
            self._next_file()

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
        self._row, self._file = 0, (self._file + 1) % len(self._files)
        self._turn += self._file == 0
        if len(self._files) > 1:
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
        order = self._order(len(self._arrays[0]), self._file + 1)
        own = order[self._share.of_rows(self._passed)]
        self._passed += len(order)
        return own

    def _order(self, count: int, what: int) -> np.ndarray:
        """Of the files (0), or of the rows of the ``what``-th file of this turn."""
        return turn_order(count, self._seed, self._turn * (len(self._files) + 1) + what)

    def _name(self) -> str:
        return self._files[self._order(len(self._files), 0)[self._file]]

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
