"""``convert_imageset``: a list of images becomes an LMDB or a LevelDB.

A record's key is its place in the list and its path, ``00000042_cat/a.png``; its value is a
``Datum`` with the label and the pixels, uint8 in BGR, or with the image as it is encoded.
Images that cannot be read are told of and left out.

Source: ``tools/convert_imageset.cpp``. What differs: a list that cannot be read, and a database
that is there already, are mistakes that are told in a line; the database is whole or absent.
"""

from __future__ import annotations

import argparse
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Optional

import cv2

from caffe.proto import caffe_pb2
from caffetools import databases
from caffetools.ahead import ahead
from caffetools.cli import ToolError
from caffetools.datums import datum_bytes, encoded_datum_bytes
from caffetools.encoded_images import encode
from caffetools.files import whole_directory
from caffetools.images import read_image
from caffetools.programs.program import LOG, Parser, number, run

_TOLD_EVERY = 1000


def parser() -> Parser:
    """What the program takes."""
    parser = Parser("convert_imageset", "Convert a set of images to a database for Caffe.")
    parser.add_argument("root", help="what is written before each path of the list, with its /")
    parser.add_argument("list", type=Path, help="lines 'path label'")
    parser.add_argument("database", type=Path, help="the database's folder; not to be there yet")
    parser.flag("backend", "lmdb or leveldb", choices=databases.BACKENDS, default="lmdb")
    parser.flag("resize_width", "width images are resized to", type=number(0), default=0)
    parser.flag("resize_height", "height images are resized to", type=number(0), default=0)
    parser.switch("gray", "one channel instead of three")
    parser.switch("shuffle", "in random order")
    parser.switch("check_size", "all records must be of one size")
    parser.switch("encoded", "keep the images encoded")
    parser.flag("encode_type", "what to encode as ('png', 'jpg', ...)", default="")
    return parser


def main() -> None:
    """The program ``convert_imageset [FLAGS] ROOTFOLDER/ LISTFILE DB_NAME``."""
    run(parser(), convert)


def convert(options: argparse.Namespace) -> None:
    """Write the database."""
    lines = list(_listed(options.list))
    if options.shuffle:
        LOG.info("Shuffling data")
        random.shuffle(lines)
    LOG.info("A total of %d images.", len(lines))
    if options.database.exists():
        raise ToolError(f"{options.database}: is there already; name a new database")
    with whole_directory(options.database) as folder:
        databases.write(folder, _counted(_records(lines, options)), options.backend)


def _listed(path: Path) -> Iterator[tuple[str, int]]:
    if not path.is_file():
        raise ToolError(f"{path}: no such list; expected a file of lines 'path label'")
    lines = path.read_bytes().decode("utf-8", "surrogateescape").split("\n")
    for count, line in enumerate(lines[:-1] if not lines[-1] else lines, 1):
        name, _, label = line.rstrip().rpartition(" ")
        if not name or re.fullmatch(r"-?\d{1,9}", label) is None:
            raise ToolError(f"{path}:{count}: expected 'path label', found {line!r}")
        yield name, int(label)


def _counted(records: Iterator[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
    count = 0
    for record in records:
        yield record
        count += 1
        if count % _TOLD_EVERY == 0:
            LOG.info("Processed %d files.", count)
    if count % _TOLD_EVERY:
        LOG.info("Processed %d files.", count)


def _records(
    lines: list[tuple[str, int]], options: argparse.Namespace
) -> Iterator[tuple[bytes, bytes]]:
    size = 0
    values = ahead(lambda line: _record(options.root + line[0], line[1], options), lines)
    for index, ((name, _), value) in enumerate(zip(lines, values)):
        if value is None:
            LOG.info("Could not open or find file %s", options.root + name)
            continue
        if options.check_size:
            pixels = len(caffe_pb2.Datum.FromString(value).data)
            size = size or pixels
            if pixels != size:
                raise ToolError(f"{name}: Incorrect data field size {pixels}, expected {size}")
        yield f"{index:08d}_{name}".encode("utf-8", "surrogateescape"), value


def _record(path: str, label: int, options: argparse.Namespace) -> Optional[bytes]:
    image = read_image(Path(path), options.gray)
    if image is None:
        return None
    resized = options.resize_width > 0 and options.resize_height > 0
    if resized:
        image = cv2.resize(image, (options.resize_width, options.resize_height))
        image = image.reshape(*image.shape[:2], -1)
    if not (options.encoded or options.encode_type):
        return datum_bytes(image, label)
    suffix = Path(path).suffix[1:].lower()
    wanted = options.encode_type or suffix
    # As in BVLC's, a file that is of the kind already is kept as it is, --gray or not.
    if not resized and _same_kind(suffix, wanted):
        data = Path(path).read_bytes()
    else:
        data = encode(image, wanted)
    return encoded_datum_bytes(data, label)


def _same_kind(suffix: str, wanted: str) -> bool:
    names = {"jpeg": "jpg"}
    return names.get(suffix, suffix) == names.get(wanted, wanted)
