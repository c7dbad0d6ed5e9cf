"""Writing files so that they are whole or absent."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A name beside ``path`` to write to; synced and renamed at the end, if all went well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        with partial.open("rb") as stream:
            os.fsync(stream.fileno())
        partial.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    finally:
        partial.unlink(missing_ok=True)


def _remove_abandoned(path: Path) -> None:
    """Remove what killed processes left of ``path`` beside it: those with no such process here."""
    for partial in path.parent.glob(f".{glob.escape(path.name)}.*.partial"):
        number = partial.name[len(path.name) + 2 : -len(".partial")]
        if number.isdecimal() and not _is_at_work(int(number)):
            with suppress(OSError):
                partial.unlink()


def _is_at_work(process: int) -> bool:
    try:
        os.kill(process, 0)
    except PermissionError:
        return True
    except (ProcessLookupError, OverflowError):
        return False
    return True


def write_whole(path: Path, pieces: Iterable[bytes | memoryview]) -> None:
    """Write ``pieces`` beside ``path``, sync, and rename: a reader sees all of it or none."""
    with whole_file(path) as partial, partial.open("wb") as stream:
        stream.writelines(pieces)
