"""Reading an LMDB in key order, over and over, as Caffe's Data layer does."""

from __future__ import annotations

import itertools
import weakref
from array import array
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import lmdb

from recaffe.data.order import turn_order
from recaffe.errors import DataError

Buffer = bytes | memoryview

# LMDB forbids opening a file twice in one process, and nets often share one.
# Keyed by the file itself (device, inode), so that an LMDB written anew is opened anew and
# one that was moved is not opened twice.
_environments: WeakValueDictionary[tuple[int, int], _Environment] = WeakValueDictionary()


class _Environment:
    """An open LMDB, closed when the last reader of it is gone."""

    def __init__(self, source: Path) -> None:
        self.handle = lmdb.open(
            str(source), readonly=True, lock=False, readahead=True, meminit=False
        )
        weakref.finalize(self, self.handle.close)


def _open(source: Path) -> _Environment:
    status = (source / "data.mdb").stat()
    key = (status.st_dev, status.st_ino)
    environment = _environments.get(key)
    if environment is None:
        environment = _Environment(source)
        _environments[key] = environment
    return environment


def _check_whole(file: Path, statistics: Any) -> None:
    """Whether the file has room for the pages in use.

    Reading a page behind the file's end kills the process. The last page's number is no
    measure: LMDB need not have written free pages, and the end of the file may be free.
    """
    used = 2 + sum(statistics[f"{kind}_pages"] for kind in ("branch", "leaf", "overflow"))
    expected, found = used * statistics["psize"], file.stat().st_size
    if found < expected:
        raise DataError(
            f"{file}: cut short: its records take {expected} bytes, the file has {found}; "
            "copy or make it again"
        )


class _Keys:
    """An LMDB's keys by their index, in one piece of memory: there may be millions."""

    def __init__(self, keys: Iterator[memoryview]) -> None:
        self._text, self._ends = bytearray(), array("q", [0])
        for key in keys:
            self._text += key
            self._ends.append(len(self._text))

    def __getitem__(self, index: int) -> bytes:
        return bytes(self._text[self._ends[index] : self._ends[index + 1]])


class LmdbReader:
    """The records of an LMDB as ``(key, value)``, from the first again after the last.

    Values are views of the file's memory, which is there as long as the reader is.

    Args:
        source: the folder that holds ``data.mdb``.

    Raises:
        DataError: no such LMDB, one that does not open, or an empty one.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        if not (Path(source) / "data.mdb").is_file():
            raise DataError(
                f"{source}: expected an LMDB (a folder with data.mdb), found "
                f"{'none there' if Path(source).exists() else 'no such folder'}; paths in a "
                "prototxt are relative to the working directory"
            )
        try:
            self._environment = _open(Path(source))
        except lmdb.Error as error:
            raise DataError(f"{source}: not an LMDB that can be read: {error}") from None
        statistics = self._environment.handle.stat()
        self.entries: int = statistics["entries"]
        if not self.entries:
            raise DataError(f"{source}: the LMDB is empty")
        _check_whole(Path(source) / "data.mdb", statistics)

    def __iter__(self) -> Iterator[tuple[Buffer, Buffer]]:
        return self.read()

    def read(self, start: int = 0) -> Iterator[tuple[Buffer, Buffer]]:
        """In key order, from the ``start``-th record on, counted on over the turns."""
        skipped = start % self.entries
        while True:
            with self._transaction() as transaction:
                yield from itertools.islice(transaction.cursor(), skipped, None)
            skipped = 0

    def shuffled(self, seed: int, start: int, step: int) -> Iterator[tuple[Buffer, Buffer]]:
        """Every ``step``-th record from the ``start``-th on, in a new order each turn."""
        while True:
            turn, offset = divmod(start, self.entries)
            chosen = turn_order(self.entries, seed, turn)[offset::step]
            start += step * len(chosen)
            with self._transaction() as transaction:
                for index in chosen:
                    key = self._keys[index]
                    yield key, transaction.get(key)

    @cached_property
    def _keys(self) -> _Keys:
        with self._transaction() as transaction:
            return _Keys(transaction.cursor().iternext(keys=True, values=False))

    def _transaction(self) -> Any:
        begin: Any = self._environment.handle.begin  # whose types know only constants
        return begin(buffers=True)
