"""Reading a LevelDB in key order, over and over, as Caffe's Data layer does."""

from __future__ import annotations

import itertools
import re
import shutil
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from recaffe.errors import DataError

_TABLE = re.compile(r"\d+\.(ldb|sst)")
_COPIED = re.compile(r"CURRENT|MANIFEST-\d+|\d+\.log")
_FOOTER = 48
_MAGIC = (0xDB4775248B80FB57).to_bytes(8, "little")
_HOW_TO_CONVERT = (
    "or write the images to an LMDB (convert_imageset without -backend leveldb, or "
    "caffetools.lmdb) and say backend: LMDB"
)


class LeveldbReader:
    """The records of a LevelDB as ``(key, value)``, from the first again after the last.

    LevelDB has no way to open a database without writing to its folder, and lets only one
    process in. So a folder of links stands in for it: the source stays as it is, may be
    read-only, and any number of nets and processes may read it. Only the log of what is not
    in tables yet is copied; that is all of a small database.

    Args:
        source: the folder that holds the file ``CURRENT``.

    Raises:
        DataError: no such LevelDB, one that does not open, or an empty one.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self._leveldb = _binding(source)
        if not (Path(source) / "CURRENT").is_file():
            raise DataError(
                f"{source}: expected a LevelDB (a folder with a file CURRENT), found "
                f"{_what_is_there(Path(source))}; paths in a prototxt are relative to the "
                "working directory"
            )
        stand_in = Path(tempfile.mkdtemp(prefix="recaffe-leveldb-"))
        weakref.finalize(self, shutil.rmtree, stand_in, ignore_errors=True)
        broken = _stand_in(Path(source), stand_in)
        try:
            self._handle = self._leveldb.DB(
                str(stand_in), create_if_missing=False, paranoid_checks=True
            )
        except (self._leveldb.Error, OSError) as error:
            hint = f" ({', '.join(broken)} cannot be whole)" if broken else ""
            told = _words(error).replace(str(stand_in), source)
            raise DataError(f"{source}: not a LevelDB that can be read: {told}{hint}") from None
        weakref.finalize(self, self._handle.close)
        if next(iter(self._once()), None) is None:
            raise DataError(f"{source}: the LevelDB is empty")

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        return self.read()

    def read(self, start: int = 0) -> Iterator[tuple[bytes, bytes]]:
        """In key order, from the ``start``-th record on, counted on over the turns."""
        if start:
            start %= sum(1 for _ in self._once())
        while True:
            yield from itertools.islice(self._once(), start, None)
            start = 0

    def _once(self) -> Iterator[tuple[bytes, bytes]]:
        last = b"none"
        try:
            with self._handle.iterator(verify_checksums=True, fill_cache=False) as records:
                for last, value in records:
                    yield last, value
        except self._leveldb.Error as error:
            place = last.decode(errors="replace")
            raise DataError(f"{self.source}: broken after key {place}: {_words(error)}") from None


def _binding(source: str) -> Any:
    try:
        import plyvel
    except ImportError as error:
        raise DataError(
            f"{source}: reading a LevelDB needs the package plyvel, which has no wheel for every "
            f"Python ({error}); `pip install plyvel`, {_HOW_TO_CONVERT}"
        ) from None
    return plyvel


def _words(error: Exception) -> str:
    """What LevelDB says; the binding leaves it as bytes."""
    told = error.args[0] if error.args else error
    return told.decode(errors="replace") if isinstance(told, bytes) else str(told)


def _what_is_there(source: Path) -> str:
    if (source / "data.mdb").is_file():
        return "an LMDB: say backend: LMDB (LEVELDB is the default)"
    return "none there" if source.exists() else "no such folder"


def _stand_in(source: Path, folder: Path) -> list[str]:
    """Fill ``folder`` so that LevelDB finds ``source`` in it; return the tables left out.

    Tables are linked under their old extension, which LevelDB reads but never writes, so
    whatever it writes in the folder cannot go through a link.
    """
    broken = []
    for file in sorted(source.resolve().iterdir()):
        if _COPIED.fullmatch(file.name) and file.is_file():
            shutil.copyfile(file, folder / file.name)
        elif _TABLE.fullmatch(file.name):
            if _has_footer(file):
                (folder / file.name).with_suffix(".sst").symlink_to(file)
            else:
                broken.append(file.name)
    return broken


def _has_footer(table: Path) -> bool:
    """Whether a table's end points into the table: LevelDB ends the process where it does not."""
    if not table.is_file() or (size := table.stat().st_size) < _FOOTER:
        return False
    with table.open("rb") as stream:
        stream.seek(-_FOOTER, 2)
        footer = stream.read(_FOOTER)
    if not footer.endswith(_MAGIC):
        return False
    meta_start, meta_size, index_start, index_size, *_ = _varints(footer[:-8])
    return max(meta_start + meta_size, index_start + index_size) <= size


def _varints(data: bytes) -> list[int]:
    numbers, value, shift = [], 0, 0
    for byte in data:
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            numbers.append(value)
            value = shift = 0
    return [*numbers, *[1 << 64] * 4]  # too few are as bad as too large
