"""Writing files so that they are whole or absent."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A name beside ``path`` to write to; synced and renamed at the end, if all went well."""
    path.parent.mkdir(parents=True, exist_ok=True)
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


def write_whole(path: Path, pieces: Iterable[bytes | memoryview]) -> None:
    """Write ``pieces`` beside ``path``, sync, and rename: a reader sees all of it or none."""
    with whole_file(path) as partial, partial.open("wb") as stream:
        stream.writelines(pieces)
