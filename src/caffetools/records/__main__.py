"""Look into a database of Datums, LMDB or LevelDB, and check it.

``info`` tells what it holds, ``ls`` lists its records, ``cat`` shows one, ``verify`` checks all.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Optional

import cv2
from google.protobuf.message import DecodeError

from caffe.proto import caffe_pb2
from caffetools import prototxt
from caffetools.cli import ToolError, run
from caffetools.datum_fields import read_fields
from caffetools.datums import pixels
from caffetools.files import whole_file
from caffetools.images import MAX_PIXELS
from caffetools.records.apart import run_apart
from caffetools.records.facts import as_text, shape_of, stored_as
from caffetools.records.info import describe
from caffetools.records.place import Database, find, key_of, shown
from caffetools.records.verify import Verification

LOG = logging.getLogger("caffetools.records")

COLUMNS = ("key", "label", "shape", "stored", "bytes")


# --- info -------------------------------------------------------------------------------


def info(options: argparse.Namespace) -> None:
    """The command ``info``."""
    for name, found in describe(find(options.database)):
        print(f"{name:<10} {found}")


# --- ls ---------------------------------------------------------------------------------


def ls(options: argparse.Namespace) -> None:
    """The command ``ls``: a table with tabs between its columns."""
    if options.limit is not None and options.limit < 0:
        raise ToolError(f"--limit: expected a number of records, found {options.limit}")
    print(*COLUMNS, sep="\t")
    database, start = find(options.database), key_of(options.start)
    for row in islice(_rows(database, start), options.limit):
        print(*row, sep="\t")


def _rows(database: Database, start: bytes) -> Iterator[tuple[str, ...]]:
    for key, value in database.views(start):
        name, size = shown(bytes(key)), str(len(value))
        try:
            fields = read_fields(value)
        except ValueError:
            yield name, "?", "?", "no Datum", size
            continue
        yield name, str(fields.label), as_text(shape_of(fields)), stored_as(fields), size


# --- cat --------------------------------------------------------------------------------


def cat(options: argparse.Namespace) -> None:
    """The command ``cat``."""
    value = _value(find(options.database), key_of(options.key))
    content = _as_prototxt(value, options.key) if options.datum else _image(value, options.key)
    if options.output is not None:
        with whole_file(options.output) as partial:
            partial.write_bytes(content)
    elif not options.datum and sys.stdout.isatty():
        raise ToolError(f"record {options.key}: an image is not for a terminal; give --output")
    else:
        sys.stdout.flush()
        sys.stdout.buffer.write(content)


def _value(database: Database, key: bytes) -> bytes:
    nearest = None
    for found, value in database.views(key):
        if bytes(found) == key:
            return bytes(value)
        nearest = shown(bytes(found))
        break
    raise ToolError(
        f"{database.path}: it has no record {shown(key)}; "
        + (f"the next one is {nearest}" if nearest else "all keys come before it")
        + "; ls lists them"
    )


def _as_prototxt(value: bytes, key: str) -> bytes:
    try:
        return prototxt.to_text(caffe_pb2.Datum.FromString(value)).encode("utf-8")
    except DecodeError as error:
        raise _no_datum(key, "protobuf cannot read it") from error


def _image(value: bytes, key: str) -> bytes:
    """The image file of an encoded Datum, as it is, or a PNG of its pixels."""
    try:
        fields = read_fields(memoryview(value))
    except ValueError as error:
        raise _no_datum(key, str(error)) from error
    if fields.encoded:
        return bytes(fields.data)
    try:
        planes = pixels(fields)
    except ValueError as error:
        raise ToolError(f"record {key}: {error}; --datum shows what there is") from error
    kind = "floats" if fields.floats else f"{len(planes)} channels"
    if fields.floats or len(planes) not in (1, 3, 4):
        raise ToolError(f"record {key}: a PNG holds no {kind}; --datum shows them")
    try:
        return bytes(cv2.imencode(".png", planes.transpose(1, 2, 0))[1])
    except cv2.error as error:
        raise ToolError(f"record {key}: OpenCV writes no PNG of {as_text(planes.shape)}") from error


def _no_datum(key: str, reason: str) -> ToolError:
    return ToolError(f"record {key}: it is no Datum: {reason}; convert the images again")


# --- verify -----------------------------------------------------------------------------


def verify(options: argparse.Namespace) -> int:
    """The command ``verify``: findings to standard output, a line each; 1 if there are any."""
    if options.max_pixels < 1:
        raise ToolError(f"--max-pixels: expected at least 1, found {options.max_pixels}")
    seen = Verification(find(options.database), options.max_pixels)
    count = 0
    for found in seen.findings():
        # At once, since a damaged file may end the process at the next record.
        print(f"{found.place}: {found.says}", flush=True)
        count += 1
    LOG.info("%s: %d records, %d findings", options.database, seen.entries, count)
    return 1 if count else 0


# --- command line -----------------------------------------------------------------------


def parser() -> argparse.ArgumentParser:
    """What the command takes."""
    made = argparse.ArgumentParser(
        prog="python -m caffetools.records",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = made.add_subparsers(dest="command", required=True)

    def command(function, text):  # type: ignore[no-untyped-def]
        one = commands.add_parser(function.__name__, help=text, description=text)
        one.add_argument("database", type=Path, help="the folder of the LMDB or LevelDB")
        one.set_defaults(function=function)
        return one

    command(info, "what a database holds, as a whole")
    one = command(ls, "a line for each record, with tabs between its columns")
    one.add_argument("--from", dest="start", default="", metavar="KEY", help="the first one's key")
    one.add_argument("--limit", type=int, metavar="N", help="so many at most")
    one = command(cat, "one record: its image file, or a PNG of its pixels")
    one.add_argument("key", help="its key, as ls shows it")
    one.add_argument("--output", "-o", type=Path, help="the file to write; without it, the screen")
    one.add_argument("--datum", action="store_true", help="the Datum as prototxt, in place of it")
    one = command(verify, "whether each record can be read, and all are alike")
    one.add_argument(
        "--max-pixels", type=int, default=MAX_PIXELS, metavar="N",
        help=f"images of more are not decoded (default: {MAX_PIXELS})",
    )  # fmt: skip
    return made


def main(arguments: Sequence[str]) -> Optional[int]:
    """``python -m caffetools.records info|ls|cat|verify DATABASE``"""
    options = parser().parse_args(arguments)
    status: Optional[int] = options.function(options)
    return status


if __name__ == "__main__":
    run(run_apart(main, lambda arguments: parser().parse_args(arguments).database))
