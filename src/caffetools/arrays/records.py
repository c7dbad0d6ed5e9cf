"""Arrays as LMDBs of Datums, as Caffe's Data layer reads them, one LMDB an array.

A row of shape C x H x W, or K or one value (then K x 1 x 1), is a record: uint8 and booleans as its
data, all else as its float_data, as float32. Records of one place have the same key in all LMDBs,
``00000042_17``: their place, and their row in the array.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Optional

import numpy as np

from caffetools import lmdb
from caffetools.arrays.npy import Array
from caffetools.cli import ToolError
from caffetools.datums import planes_bytes

_MOST_VALUES = 2**31 - 1  # Caffe counts a blob's values by an int
_LABELS = np.iinfo(np.int32)


def write(
    arrays: Sequence[Array], order: np.ndarray, output: Path, label: Optional[Array] = None
) -> dict[str, dict[str, Any]]:
    """Write an LMDB ``output/NAME`` of each array, rows in this order, and its ``NAME.json``.

    ``label`` is an array of whole numbers, the records' labels. All are written or none. Returns
    the manifests by the arrays' names.
    """
    shapes = [_planes(array) for array in arrays]
    labels = np.zeros(len(order), np.int32) if label is None else _labels(label)[order]
    parts = [
        (output / array.name, _records(array, shape, order, labels), lmdb.Manifest())
        for array, shape in zip(arrays, shapes)
    ]
    manifests = lmdb.write_together(parts, len(order))
    return {array.name: facts for array, facts in zip(arrays, manifests)}


def _planes(array: Array) -> tuple[int, int, int]:
    """The shape (channels, height, width) of a row's Datum."""
    shape = array.row_shape
    if len(shape) not in (0, 1, 3):
        raise ToolError(
            f"{array.path}: expected the shape N, N x K or N x channels x height x width of an "
            f"LMDB's array, found {' x '.join(map(str, array.values.shape))}"
            + ("; of gray images make one with array[:, None]" if len(shape) == 2 else "")
        )
    if array.row_size > _MOST_VALUES:
        raise ToolError(f"{array.path}: a row has {array.row_size} values, more than a Caffe blob")
    channels, height, width = (*shape, 1, 1, 1)[:3]
    return channels, height, width


def _labels(array: Array) -> np.ndarray:
    """The values of an array as whole numbers of 32 bits, as a Datum's label is."""
    if array.row_size != 1:
        raise ToolError(
            f"{array.path}: a Datum has one whole number as its label, and this array has "
            f"{array.row_size} values an item; give it as --array alone, to an LMDB of its own"
        )
    values = np.array(array.values).reshape(-1)
    with np.errstate(invalid="ignore"):
        bad = ~((values >= _LABELS.min) & (values <= _LABELS.max) & (values == np.floor(values)))
    if bad.any():
        row = int(np.argmax(bad))
        raise ToolError(
            f"{array.path}: [{row}] is {values[row]}, and a Datum's label is a whole number of 32 "
            "bits; give the array as --array alone, to an LMDB of its own"
        )
    return values.astype(np.int32)


def _records(
    array: Array, shape: tuple[int, int, int], order: np.ndarray, labels: np.ndarray
) -> Iterator[lmdb.Record]:
    is_bytes = array.values.dtype.name in ("uint8", "bool")
    place = 0
    for block in array.blocks(order, np.uint8 if is_bytes else np.float32):
        planes = block.reshape(-1, *shape)
        if is_bytes:
            planes = planes.view(np.uint8)
        sums = planes.sum(axis=(2, 3), dtype=np.float64)
        for row, row_sums in zip(planes, sums):
            key = f"{place:08d}_{order[place]}".encode()
            value = planes_bytes(row, int(labels[place]))
            yield lmdb.Record(key, value, int(labels[place]), shape, row_sums)
            place += 1
