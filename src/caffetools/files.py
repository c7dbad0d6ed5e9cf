"""Writing results so that they are whole or absent."""

from __future__ import annotations

import csv
import glob
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any


def _sync_directory(folder: Path) -> None:
    descriptor = os.open(str(folder), os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A name beside ``path`` to write to; synced and renamed to ``path`` if nothing is raised."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        put_in_place(partial, path)
    finally:
        if partial.exists():
            partial.unlink()


def put_in_place(partial: Path, path: Path) -> None:
    """Rename a file that is written to its end to ``path``, in the same folder; synced."""
    with partial.open("rb") as written:
        os.fsync(written.fileno())
    partial.replace(path)
    _sync_directory(path.parent)


@contextmanager
def whole_directory(path: Path) -> Iterator[Path]:
    """Like :func:`whole_file`, for a folder; a folder already at ``path`` is replaced."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    if partial.exists():
        # Of one that was killed and had this process' number, as in containers all have the same.
        shutil.rmtree(str(partial))
    partial.mkdir()
    try:
        yield partial
        if path.exists():
            shutil.rmtree(str(path))
        partial.replace(path)
        _sync_directory(path.parent)
    finally:
        if partial.exists():
            shutil.rmtree(str(partial))


def _remove_abandoned(path: Path) -> None:
    """Remove what killed processes left of ``path`` beside it: those with no such process here."""
    for partial in path.parent.glob(f".{glob.escape(path.name)}.*.partial"):
        number = partial.name[len(path.name) + 2 : -len(".partial")]
        if number.isdecimal() and not _is_at_work(int(number)):
            if partial.is_dir():
                shutil.rmtree(str(partial), ignore_errors=True)
            else:
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


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8, whole or not at all."""
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as JSON with sorted keys, so that equal values give equal bytes."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Iterable[Any]]) -> None:
    """Write a table with a header as CSV, whole or not at all."""
    with whole_file(path) as partial, partial.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        quoting = csv.writer(stream, lineterminator="\n", quoting=csv.QUOTE_ALL)
        writer.writerow(header)
        for row in rows:
            # Readers end a row at a carriage return, which the writer does not quote by itself.
            values = list(row)
            has_return = any("\r" in value for value in values if isinstance(value, str))
            (quoting if has_return else writer).writerow(values)


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    return checksum(path, "sha256")


def checksum(path: Path, algorithm: str) -> str:
    """A file's checksum, in hexadecimal; ``algorithm`` is a name of hashlib's."""
    digest = hashlib.new(algorithm)
    with path.open("rb") as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()
