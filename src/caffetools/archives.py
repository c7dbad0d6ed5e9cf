"""Unpack an archive of images into a folder that nothing in it can lead out of.

It takes tar, bare or compressed by gzip, bzip2 or xz, and zip, told by their content and not by
their names. Of the archive only what is below ``--folder`` is taken, or where it has one single
folder at its top, what is below that. Hidden files and macOS's ``__MACOSX`` are left out, owners
and modes are not kept.

An archive with a link, a device, a name that is absolute or leads upwards, or one that stands
there twice, is refused as a whole, with the name of the entry. So is one that unpacks to more than
``--limit`` bytes, as they are counted, or holds more than ``--entries`` entries.
"""

from __future__ import annotations

import argparse
import errno
import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from caffetools.archive_entries import Entry, Meter, entries
from caffetools.cli import ToolError, run
from caffetools.compressed import RATIO, SMALL, allowance
from caffetools.fetch import ALGORITHMS, require_checksums
from caffetools.files import whole_directory
from caffetools.folders import refuse_foreign

LOG = logging.getLogger("caffetools.archives")

MOST_BYTES = 100 << 30
MOST_ENTRIES = 2_000_000
_LONGEST_PART = 255  # bytes of a name, as file systems have it
_LONGEST_NAME = 1024  # bytes of a name with its folders
_SHOWN = 200  # letters of a name that is told
# Beside the result while it is made; hidden, as nothing that is unpacked is.
_SPARE = ".unpacked"


class _RefusedError(Exception):
    """Why an entry is refused, after its name."""


@dataclass
class Unpacked:
    """What has been written so far; ``tops`` are the first few names at the archive's top."""

    files: int = 0
    hidden: int = 0
    tops: tuple[str, ...] = ()


def safe_parts(name: str) -> list[str]:
    """The folders and the name of an entry, ``.`` left out; those may be hidden ones.

    Raises ``_RefusedError`` where they may lead elsewhere or cannot be a file's.
    """
    if "\0" in name:
        raise _RefusedError("has a NUL in its name")
    if "\\" in name:
        raise _RefusedError("has a backslash in its name, where a '/' is expected")
    if name.startswith("/"):
        raise _RefusedError("has an absolute name")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise _RefusedError("leads upwards by '..'")
    try:
        sizes = [len(part.encode("utf-8", "surrogateescape")) for part in parts]
    except UnicodeEncodeError:
        raise _RefusedError("has a name that cannot be a file's") from None
    if max(sizes, default=0) > _LONGEST_PART or sum(sizes) + len(sizes) > _LONGEST_NAME:
        raise _RefusedError("has too long a name")
    return parts


def is_hidden(parts: Sequence[str]) -> bool:
    """Whether an entry is none of the images' but of the system that packed them."""
    return any(part.startswith(".") or part == "__MACOSX" for part in parts)


def unpack(
    archive: Path,
    output: Path,
    folder: str = "",
    limit: Optional[int] = None,
    most: int = MOST_ENTRIES,
) -> Unpacked:
    """Write what is in ``archive`` below ``folder`` to the folder ``output``, or nothing.

    ``limit`` is in bytes; None is :func:`~caffetools.compressed.allowance`, and
    :data:`MOST_BYTES` at most. Memory does not grow with a tar; a zip's list of entries is held.

    Raises:
        ToolError: the archive is damaged or refused, or has nothing there.
    """
    if limit is None and archive.is_file():
        limit = min(MOST_BYTES, allowance(archive))
    inside = _inside(folder)
    done = Unpacked()
    with whole_directory(output) as partial:
        place = partial / _SPARE
        place.mkdir()
        for number, entry in enumerate(entries(archive, Meter(archive, limit or 0), most)):
            if number == most:
                raise ToolError(
                    f"{archive}: holds more than {most} entries; where it is to be trusted, "
                    "allow more by --entries"
                )
            try:
                _unpack_entry(entry, inside, place, done)
            except _RefusedError as reason:
                raise ToolError(
                    f"{archive}: entry {_shown(entry.name)} {reason}; nothing of the archive was "
                    "unpacked. If you trust it, unpack it yourself and give the folder"
                ) from None
        if not done.files:
            raise ToolError(f"{archive}: {_nothing(folder, done)}")
        _lift(place if inside else _single_folder(place), partial)
        shutil.rmtree(str(place))
        refuse_foreign(output, {entry.name for entry in partial.iterdir()}.__contains__)
    return done


def _inside(folder: str) -> list[str]:
    try:
        parts = safe_parts(folder)
    except _RefusedError as reason:
        raise ToolError(
            f"--folder: {folder!r} {reason}; expected a folder in the archive"
        ) from None
    if is_hidden(parts):
        raise ToolError(f"--folder: {folder!r} is hidden; such folders are left out")
    return parts


def _unpack_entry(entry: Entry, inside: list[str], place: Path, done: Unpacked) -> None:
    parts = safe_parts(entry.name)
    if entry.kind:
        raise _RefusedError(f"is {entry.kind}; only files and folders are taken")
    if is_hidden(parts):
        done.hidden += 1
        return
    if parts and parts[0] not in done.tops and len(done.tops) < 5:
        done.tops = (*done.tops, parts[0])
    if parts[: len(inside)] != inside:
        return
    below = parts[len(inside) :]
    if entry.is_folder:
        _make_folder(place.joinpath(*below))
    elif not below:
        raise _RefusedError("is a file, where a folder is expected")
    else:
        _write(entry, place.joinpath(*below))
        done.files += 1


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise _RefusedError("is a folder or lies in one, whose name a file has as well") from None
    except OSError as error:
        raise _too_long(error) from None


def _write(entry: Entry, path: Path) -> None:
    try:
        if not path.parent.is_dir():
            _make_folder(path.parent)
        stream = path.open("xb")
    except FileExistsError:
        raise _RefusedError("stands there twice") from None
    except OSError as error:
        raise _too_long(error) from None
    with stream:
        for block in entry.blocks:
            stream.write(block)


def _too_long(error: OSError) -> Exception:
    """``error``, as a reason to refuse the entry where its name is at fault."""
    if error.errno == errno.ENAMETOOLONG:
        return _RefusedError("has too long a name for this file system")
    return error


def _single_folder(place: Path) -> Path:
    """The single folder in ``place``, if that is all there is; else ``place``."""
    tops = list(place.iterdir())
    return tops[0] if len(tops) == 1 and tops[0].is_dir() else place


def _lift(source: Path, target: Path) -> None:
    for entry in source.iterdir():
        entry.rename(target / entry.name)


def _nothing(folder: str, done: Unpacked) -> str:
    found = ", ".join(_shown(top) for top in done.tops) or "nothing"
    where = f"below {folder!r}" if folder else "in it"
    return f"expected files {where}, found none; at its top is {found}"


def _shown(name: str) -> str:
    return repr(name if len(name) <= _SHOWN else f"{name[:_SHOWN]}...")


def main(arguments: Sequence[str]) -> None:
    """``python -m caffetools.archives --archive FILE --output DIR``"""
    parser = argparse.ArgumentParser(
        prog="python -m caffetools.archives",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--archive", type=Path, required=True, metavar="FILE")
    add("--output", type=Path, required=True, metavar="DIR", help="folder to unpack to")
    add("--folder", default="", metavar="INSIDE", help="take what is below this one alone")
    add(
        "--limit",
        type=int,
        metavar="BYTES",
        help=f"of all that is unpacked (default: {RATIO} times the archive and {SMALL >> 20} MiB, "
        f"{MOST_BYTES >> 30} GiB at most)",
    )
    add("--entries", type=int, default=MOST_ENTRIES, metavar="N", help="(default: %(default)s)")
    for algorithm in ALGORITHMS:
        add(f"--{algorithm}", metavar="HEX", help="checksum that the archive must have")
    options = parser.parse_args(arguments)
    for name in ("limit", "entries"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise ToolError(f"--{name}: expected 1 or more, found {value}")
    if not options.archive.is_file():
        raise ToolError(f"{options.archive}: there is no such archive")
    told = {name: getattr(options, name) for name in ALGORITHMS}
    require_checksums(options.archive, {name: hex for name, hex in told.items() if hex})
    done = unpack(options.archive, options.output, options.folder, options.limit, options.entries)
    LOG.info("%s: %d files, %d hidden ones left out", options.output, done.files, done.hidden)


if __name__ == "__main__":
    run(main)
