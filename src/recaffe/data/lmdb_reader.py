"""Reading an LMDB in key order, over and over, as Caffe's Data layer does."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from pathlib import Path
from weakref import WeakValueDictionary

import lmdb

from recaffe.errors import DataError

# LMDB forbids opening a file twice in one process, and nets often share one.
# The file's inode is part of the key, so that an LMDB written anew is opened anew.
_environments: WeakValueDictionary[tuple[Path, int], _Environment] = WeakValueDictionary()


class _Environment:
    """An open LMDB, closed when the last reader of it is gone."""

    def __init__(self, source: Path) -> None:
        self.handle = lmdb.open(
            str(source), readonly=True, lock=False, readahead=True, meminit=False
        )
        weakref.finalize(self, self.handle.close)


def _open(source: Path) -> _Environment:
    key = (source.resolve(), (source / "data.mdb").stat().st_ino)
    environment = _environments.get(key)
    if environment is None:
        environment = _Environment(source)
        _environments[key] = environment
    return environment


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
        self.entries: int = self._environment.handle.stat()["entries"]
        if not self.entries:
            raise DataError(f"{source}: the LMDB is empty")

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        while True:
            with self._environment.handle.begin() as transaction:
                yield from transaction.cursor()
