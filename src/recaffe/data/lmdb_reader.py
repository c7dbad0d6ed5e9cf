"""Reading an LMDB in key order, over and over, as Caffe's Data layer does."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import lmdb

from recaffe.errors import DataError

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


class LmdbReader:
    """The records of an LMDB as ``(key, value)``, from the first again after the last.

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

    def __iter__(self) -> Iterator[tuple[memoryview, memoryview]]:
        """Views of the file's memory, which is there as long as the reader is."""
        begin: Any = self._environment.handle.begin  # whose types know only constants
        while True:
            with begin(buffers=True) as transaction:
                yield from transaction.cursor()
