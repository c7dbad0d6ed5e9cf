"""A database on disk: which kind it is, its records, and its keys as text."""

from __future__ import annotations

import glob
import re
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

from caffetools import databases
from caffetools.cli import ToolError

# A file that each kind has.
MARKS = {"lmdb": "data.mdb", "leveldb": "CURRENT"}


@dataclass(frozen=True)
class Database:
    """A folder that holds a database; ``backend`` is lmdb or leveldb."""

    path: Path
    backend: str

    def views(self, start: bytes = b"") -> Generator[tuple[memoryview, memoryview], None, None]:
        """Keys and values from the key ``start`` on, each to be looked at before the next.

        Raises :class:`ToolError` where the database cannot be read.
        """
        return databases.views(self.path, self.backend, start=start)

    def size(self) -> int:
        """The bytes that its files have on disk."""
        return sum(file.stat().st_size for file in self.path.iterdir() if file.is_file())


def find(path: Path) -> Database:
    """The database in the folder ``path``. Raises :class:`ToolError` if there is none."""
    for backend, mark in MARKS.items():
        if (path / mark).is_file():
            return Database(path, backend)
    left = sorted(path.parent.glob(f".{glob.escape(path.name)}.*.partial"))
    raise ToolError(
        f"{path}: expected a folder with data.mdb (LMDB) or CURRENT (LevelDB), found none; "
        + (
            f"{left[0].name} beside it is of a run that was interrupted: convert the images again"
            if left
            else "give the database's folder"
        )
    )


# --- keys -------------------------------------------------------------------------------

_ESCAPED = re.compile(rb"\\(?:x([0-9a-f]{2})|\\)")


def shown(key: bytes) -> str:
    """A key as text in one line, from which :func:`key_of` makes the same key.

    A backslash is doubled; what is not UTF-8, or cannot be printed, becomes ``\\xNN``.
    """
    text = key.decode("utf-8", "surrogateescape")
    if text.isprintable() and "\\" not in text:
        return text
    return "".join(map(_shown, text))


def _shown(letter: str) -> str:
    if letter == "\\":
        return "\\\\"
    if letter.isprintable():
        return letter
    return "".join(f"\\x{byte:02x}" for byte in letter.encode("utf-8", "surrogateescape"))


def key_of(text: str) -> bytes:
    """The key that is shown as ``text``; other backslashes stand for themselves."""

    def byte(found: re.Match[bytes]) -> bytes:
        return bytes([int(found[1], 16)]) if found[1] else b"\\"

    return _ESCAPED.sub(byte, text.encode("utf-8", "surrogateescape"))
