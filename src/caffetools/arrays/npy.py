"""Arrays in NumPy's ``.npy`` files, read by parts where they lie.

The header is read here and not by ``numpy.load``: nothing is unpickled, no value of the header is
believed before it was held against the file's size, and a mistake ends in one sentence. Format:
https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Optional

import numpy as np

from caffetools.cli import ToolError

MOST_AXES = 32  # of a blob, and of an array
WHOLE = 1 << 24  # float32 holds every whole number up to it
_MAGIC = b"\x93NUMPY"
_LONGEST_HEADER = 10_000  # bytes, as numpy.load's own limit; an honest one has some 100
_BLOCK = 1 << 23  # bytes of an array that are in memory at a time, or one row
# Whole numbers, booleans, and floats of 2, 4 and 8 bytes; of either order of bytes.
_TYPE = re.compile(r"[<>|=]?(b1|[iu][1248]|f[248])")


@dataclass(frozen=True)
class Array:
    """An array in a file, its first axis that of the items.

    Attributes:
        name: what it is called in the net: a top, a dataset, an LMDB.
        path: its file.
        values: the file's, memory mapped.
    """

    name: str
    path: Path
    values: np.ndarray

    @property
    def row_shape(self) -> tuple[int, ...]:
        """The shape of one item."""
        return tuple(self.values.shape[1:])

    @property
    def row_size(self) -> int:
        """How many values an item has."""
        return math.prod(self.row_shape)

    def blocks(self, order: np.ndarray, dtype: Any = np.float32) -> Iterator[np.ndarray]:
        """The rows of these numbers, some at a time, as ``dtype``: float32, or the file's own.

        Raises :class:`ToolError` where float32 does not hold a value.
        """
        step = max(1, _BLOCK // max(1, 4 * self.row_size, self.values.itemsize * self.row_size))
        for start in range(0, len(order), step):
            numbers = order[start : start + step]
            found = self._rows(numbers)
            yield found if dtype != np.float32 else self._as_float32(found, numbers)

    def _rows(self, numbers: np.ndarray) -> np.ndarray:
        first, last = int(numbers[0]), int(numbers[-1])
        if last - first == len(numbers) - 1 and (np.diff(numbers) == 1).all():
            return np.array(self.values[first : last + 1])
        return np.array(self.values[numbers])

    def _as_float32(self, found: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore", invalid="ignore"):
            floats = found.astype(np.float32)
        if found.dtype.kind == "f":
            bad = ~np.isfinite(floats)
        elif found.dtype.itemsize > 2:
            bad = (found > WHOLE) | (found < -WHOLE)
        else:
            return floats
        if bad.any():
            place = tuple(int(axis[0]) for axis in np.nonzero(bad))
            raise self._unfit(found[place].item(), (int(numbers[place[0]]), *place[1:]))
        return floats

    def _unfit(self, value: Any, place: tuple[int, ...]) -> ToolError:
        at = f"{self.path}: [{', '.join(map(str, place))}] is {value}, "
        if isinstance(value, int):
            return ToolError(
                f"{at}and float32, as Caffe computes, holds whole numbers up to {WHOLE} exactly; "
                "scale them, or save the array as float32 if they may be rounded"
            )
        if math.isfinite(value):
            return ToolError(f"{at}which is beyond what float32 holds (3.4e38); scale the array")
        return ToolError(
            f"{at}by which a training's weights would all become nan; leave such items out, or "
            "replace it as by numpy.nan_to_num"
        )


def open_array(name: str, path: Path) -> Array:
    """The array in a ``.npy`` file. Raises :class:`ToolError` where it is none that can be read."""
    if not path.is_file():
        there = "a folder" if path.is_dir() else "nothing"
        raise ToolError(f"{path}: expected a .npy file, as numpy.save writes it, found {there}")
    with path.open("rb") as stream:
        header = _header(stream, path)
        offset = stream.tell()
    dtype, shape = _dtype(header, path), _shape(header, path)
    expected = math.prod(shape) * dtype.itemsize
    found = path.stat().st_size - offset
    if found != expected:
        raise ToolError(
            f"{path}: its header tells {' x '.join(map(str, shape))} values of {dtype.name}, "
            f"{expected} bytes, and {found} follow; "
            + ("is it cut off? " if found < expected else "")
            + "Save it again by numpy.save"
        )
    if not expected:
        raise ToolError(f"{path}: expected values, found an array of shape {shape} with none")
    return Array(name, path, np.memmap(str(path), dtype, "r", offset, shape))


def _header(stream: BinaryIO, path: Path) -> dict[str, Any]:
    start = stream.read(8)
    if start[:2] == b"PK":
        raise ToolError(
            f"{path}: expected one array, found several in an archive (.npz); save each by "
            "numpy.save as a .npy"
        )
    if start[:6] != _MAGIC or len(start) < 8:
        raise ToolError(
            f"{path}: expected a .npy file, as numpy.save writes it, found one that starts "
            f"{start!r}; pickles and other files are not read"
        )
    if start[6] not in (1, 2, 3):
        raise ToolError(f"{path}: expected version 1, 2 or 3 of .npy, found {start[6]}")
    size = stream.read(2 if start[6] == 1 else 4)
    length = int.from_bytes(size, "little")
    text = stream.read(length) if length <= _LONGEST_HEADER else b""
    header = _parsed(text.decode("utf-8" if start[6] == 3 else "latin-1", "replace"))
    if len(text) < length or header is None:
        raise ToolError(
            f"{path}: its header, of {length} bytes, is none of a .npy file (a dictionary with "
            "descr, fortran_order and shape); save the array again by numpy.save"
        )
    return header


def _parsed(text: str) -> Optional[dict[str, Any]]:
    try:
        found = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None
    keys = {"descr", "fortran_order", "shape"}
    return found if isinstance(found, dict) and set(found) == keys else None


def _dtype(header: dict[str, Any], path: Path) -> np.dtype:
    told = header["descr"]
    if isinstance(told, str) and _TYPE.fullmatch(told):
        return np.dtype(told)
    if isinstance(told, str) and told.lstrip("|<>=").startswith("O"):
        found = "Python objects, which are pickled and not read"
    elif isinstance(told, list):
        found = "records of several fields; save each field as an array of its own"
    else:
        found = f"{str(told)[:50]!r}; save the array as float32"
    raise ToolError(f"{path}: expected floats, whole numbers or booleans, found {found}")


def _shape(header: dict[str, Any], path: Path) -> tuple[int, ...]:
    shape, fortran = header["shape"], header["fortran_order"]
    is_shape = isinstance(shape, tuple) and all(
        type(size) is int and 0 <= size < 1 << 63 for size in shape
    )
    if not is_shape or not isinstance(fortran, bool):
        raise ToolError(
            f"{path}: expected a shape of whole numbers in its header, found {str(shape)[:100]} "
            f"(fortran_order {str(fortran)[:20]}); save the array again by numpy.save"
        )
    if not 1 <= len(shape) <= MOST_AXES:
        raise ToolError(
            f"{path}: expected from 1 to {MOST_AXES} axes, the first that of the items, found "
            f"{len(shape)}"
        )
    if fortran and len(shape) > 1:
        raise ToolError(
            f"{path}: its values lie in Fortran's order, so that no item lies in one piece; save "
            "numpy.ascontiguousarray(array) instead"
        )
    return shape
