"""LMDB and LevelDB, the databases that Caffe's Data layer reads: write one, read one."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, Optional

import lmdb

from caffetools.cli import ToolError
from caffetools.spread import spread

BACKENDS = ("lmdb", "leveldb")
LONGEST_KEY = 511  # bytes; a constant of every common build of LMDB

_RECORDS_AT_ONCE = 1000  # as convert_imageset
_BYTES_AT_ONCE = 1 << 25  # or fewer records, if they are large: these wait in memory
_FIRST_MAP_SIZE = 1 << 24  # bytes; doubled as often as it takes

Records = Iterable[tuple[bytes, bytes]]
Put = Callable[[Records], None]


def write(folder: Path, records: Records, backend: str = "lmdb") -> None:
    """Write records, whose keys ascend, to a new database in ``folder``, which is empty.

    Raises :class:`ToolError` if that fails, by a key that is too long or a disk that is full.
    """
    with opened(folder, backend) as put, ThreadPoolExecutor(max_workers=1) as writer:
        # A thread writes one batch while the next is made, which decoding images has need of.
        writing: Optional[Future[None]] = None
        for batch in _batches(records):
            if writing:
                writing.result()
            writing = writer.submit(put, batch)
        if writing:
            writing.result()


def require_room(folder: Path, count: int, size: int) -> None:
    """Raise :class:`ToolError` if the disk has no room for ``count`` records of ``size`` bytes."""
    # LMDB's pages, of which a record of more than half of one has its own.
    page = 4096
    pages = count * (-(-size // page) if size > page // 2 else size / page)
    free = shutil.disk_usage(str(folder)).free
    if pages * page > free:
        raise ToolError(
            f"{folder.parent}: {count} records of {size} bytes need about {_shown(pages * page)}, "
            f"and the disk has {_shown(free)} free; make room, store smaller or encoded images, or "
            "choose another disk"
        )


def _shown(size: float) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def opened(folder: Path, backend: str = "lmdb") -> AbstractContextManager[Put]:
    """A new database as a function that adds records, whose keys ascend, in one transaction."""
    return _WRITERS[backend](folder)


def records(database: Path, backend: str = "lmdb") -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of a database in order. Raises :class:`ToolError` if it is none."""
    return _READERS[backend](database)


def keys(database: Path, backend: str = "lmdb") -> Generator[bytes, None, None]:
    """The keys of a database in order, of an LMDB without reading its values.

    Raises :class:`ToolError` if it is none.
    """
    if backend != "lmdb":
        yield from (key for key, _ in records(database, backend))
        return
    with reading_lmdb(database) as transaction:
        yield from transaction.cursor().iternext(keys=True, values=False)


def some_records(database: Path, count: int) -> list[tuple[bytes, bytes]]:
    """``count`` records of an LMDB, evenly spaced in the order of keys; all if there are fewer.

    Raises :class:`ToolError` if it is none or empty.
    """
    with reading_lmdb(database) as transaction:
        found = list(transaction.cursor().iternext(keys=True, values=False))
        if not found:
            raise ToolError(f"{database}: expected at least one record, found an empty LMDB")
        return [(key, bytes(transaction.get(key))) for key in spread(found, count)]


def lmdb_entries(database: Path) -> int:
    """How many records an LMDB has. Raises :class:`ToolError` if it is none."""
    with reading_lmdb(database) as transaction:
        return int(transaction.stat()["entries"])


def lmdb_sizes(database: Path) -> tuple[int, int]:
    """The bytes that an LMDB may grow to, and those of a page. :class:`ToolError` if it is none."""
    # Opened with no size told, it has the one that is written in its file.
    with _lmdb_environment(database, map_size=0) as environment:
        return int(environment.info()["map_size"]), int(environment.stat()["psize"])


def views(
    database: Path, backend: str = "lmdb", step: int = 1, start: bytes = b""
) -> Generator[tuple[memoryview, memoryview], None, None]:
    """Keys and values of every ``step``-th record, each to be looked at before the next.

    The first is that of the key ``start``, or of the next one after it. Of an LMDB nothing is
    read but the pages that are looked at. Raises :class:`ToolError` if it is none.
    """
    if backend != "lmdb":
        for key, value in islice(_from_leveldb(database, start), 0, None, step):
            yield memoryview(key), memoryview(value)
        return
    with reading_lmdb(database, copies=False) as transaction:
        cursor = transaction.cursor()
        if start and not cursor.set_range(start):
            return
        for number, key in enumerate(cursor.iternext(keys=True, values=False)):
            if number % step == 0:
                yield key, cursor.value()


def _batches(records: Records) -> Iterator[list[tuple[bytes, bytes]]]:
    batch: list[tuple[bytes, bytes]] = []
    size = 0
    for record in records:
        batch.append(record)
        size += len(record[1])
        if len(batch) == _RECORDS_AT_ONCE or size >= _BYTES_AT_ONCE:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


# --- LMDB -------------------------------------------------------------------------------


@contextmanager
def _new_lmdb(folder: Path) -> Iterator[Put]:
    try:
        # No lock file: nobody else knows of this folder yet, and a reader makes its own.
        with lmdb.open(
            str(folder), map_size=_FIRST_MAP_SIZE, mode=0o644, lock=False, sync=False,
            metasync=False,
        ) as environment:  # fmt: skip

            def put(records: Records) -> None:
                _put(environment, list(records))
                environment.sync(True)

            yield put
            environment.sync(True)
    except lmdb.BadValsizeError as error:
        raise ToolError(
            f"{folder}: a key is empty or longer than {LONGEST_KEY} bytes, the longest that LMDB "
            f"takes; use shorter names ({error})"
        ) from error
    except lmdb.Error as error:
        free = _shown(shutil.disk_usage(str(folder)).free)
        raise ToolError(
            f"{folder}: could not be written ({error}); is the disk full? It has {free} free"
        ) from error


def _put(environment: lmdb.Environment, items: list[tuple[bytes, bytes]]) -> None:
    """Write ``items`` in one transaction, in a map as large as that takes."""
    while True:
        try:
            with environment.begin(write=True) as transaction:
                # Keys ascend, so each goes to the end and pages are filled to the brim. One that
                # does not is passed over without a word.
                _, added = transaction.cursor().putmulti(items, append=True)
                if added != len(items):
                    raise ToolError(
                        f"{environment.path()}: expected keys that ascend, found {len(items)} of "
                        f"which {len(items) - added} do not, from {items[0][0]!r} to "
                        f"{items[-1][0]!r}; number records with leading zeros"
                    )
            return
        except lmdb.MapFullError:
            environment.set_mapsize(2 * environment.info()["map_size"])


def _from_lmdb(database: Path) -> Iterator[tuple[bytes, bytes]]:
    with reading_lmdb(database) as transaction:
        yield from transaction.cursor()


@contextmanager
def reading_lmdb(database: Path, copies: bool = True) -> Iterator[Any]:
    """A transaction that reads an LMDB. Raises :class:`ToolError` if it is none.

    Without ``copies`` values are views that hold until the next look.
    """
    with _lmdb_environment(database) as environment:
        begin: Any = environment.begin  # whose types know only constants
        with begin(buffers=not copies) as transaction:
            yield transaction


@contextmanager
def _lmdb_environment(database: Path, **options: Any) -> Iterator[lmdb.Environment]:
    if not (database / "data.mdb").is_file():
        raise ToolError(f"{database}: expected an LMDB, found no data.mdb in it")
    if not (database / "data.mdb").stat().st_size:
        raise ToolError(f"{database}: its data.mdb is empty, as where its writing was interrupted")
    try:
        with lmdb.open(str(database), readonly=True, lock=False, **options) as environment:
            yield environment
    except lmdb.Error as error:
        raise ToolError(f"{database}: the LMDB cannot be read: {error}") from error


# --- LevelDB ----------------------------------------------------------------------------


@contextmanager
def _new_leveldb(folder: Path) -> Iterator[Put]:
    leveldb = _leveldb()
    try:
        # The sizes are those that Caffe writes with.
        database = leveldb.DB(
            str(folder), create_if_missing=True, error_if_exists=True,
            write_buffer_size=1 << 28, block_size=1 << 16, max_open_files=100,
        )  # fmt: skip

        def put(records: Records) -> None:
            with database.write_batch(sync=True) as batch:
                for key, value in records:
                    batch.put(key, value)

        with contextlib.closing(database):
            yield put
    except leveldb.Error as error:
        raise ToolError(f"{folder}: could not be written ({error}); is the disk full?") from error


def _from_leveldb(database: Path, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
    leveldb = _leveldb()
    if not (database / "CURRENT").is_file():
        raise ToolError(f"{database}: expected a LevelDB, found no file CURRENT in it")
    try:
        handle = leveldb.DB(str(database), create_if_missing=False, paranoid_checks=True)
        found = handle.iterator(start=start, verify_checksums=True)
        with contextlib.closing(handle), found:
            yield from found
    except (leveldb.Error, OSError) as error:
        raise ToolError(f"{database}: the LevelDB cannot be read: {error}") from error


def _leveldb() -> Any:
    try:
        import plyvel
    except ImportError as error:
        raise ToolError(
            f"a LevelDB needs the package plyvel, which has no wheel for every Python ({error}): "
            "`pip install plyvel`, or use -backend lmdb"
        ) from error
    return plyvel


_WRITERS = {"lmdb": _new_lmdb, "leveldb": _new_leveldb}
_READERS = {"lmdb": _from_lmdb, "leveldb": _from_leveldb}
