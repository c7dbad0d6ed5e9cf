"""Caffe's ``convert_imageset``, ``compute_image_mean`` and ``parse_log``.

They take the flags that BVLC's programs take, with one dash or two, and write the same files.
What differs: a list that cannot be read, and a database that is there already, are mistakes
that are told in a line; ``convert_imageset`` writes LMDB alone.
"""

from __future__ import annotations

import argparse
import csv
import logging
import random
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import NoReturn, Optional

import cv2
import lmdb

from caffe.proto import caffe_pb2
from caffetools import mean
from caffetools.cli import ToolError, run
from caffetools.files import whole_directory, whole_file
from caffetools.images import read_image
from caffetools.lmdb import FIRST_MAP_SIZE, RECORDS_PER_TRANSACTION, datum_bytes

LOG = logging.getLogger("caffetools.programs")
SWITCHES = ("gray", "shuffle", "encoded", "check_size")


class _Parser(argparse.ArgumentParser):
    def __init__(self, name: str, description: str) -> None:
        super().__init__(prog=name, description=description, allow_abbrev=False)
        self.add_argument("-debug", "--debug", action="store_true", help="show tracebacks")

    def flag(self, name: str, text: str, **options: object) -> None:
        self.add_argument(f"-{name}", f"--{name}", help=text, **options)  # type: ignore[arg-type]

    def error(self, message: str) -> NoReturn:
        self.exit(1, f"ERROR: {message}\n")


def _run(parser: _Parser, command: Callable[[argparse.Namespace], None]) -> None:
    def main(arguments: Sequence[str]) -> Optional[int]:
        options = parser.parse_args(list(_plain(arguments)))
        try:
            command(options)
        except ToolError:
            if options.debug:
                LOG.exception("a mistake:")
            raise
        return None

    run(main)


def _plain(arguments: Sequence[str]) -> Iterator[str]:
    """The arguments, without gflags' ``-switch=true``, ``-switch=false`` and ``-noswitch``."""
    for argument in arguments:
        name, _, value = argument.lstrip("-").partition("=")
        is_flag = argument.startswith("-")
        if is_flag and name in SWITCHES:
            if value in ("", "true", "1", "t", "yes", "y"):
                yield f"--{name}"
        elif not (is_flag and name in {f"no{switch}" for switch in SWITCHES}):
            yield argument


# -- convert_imageset ------------------------------------------------------------------------


def convert_imageset() -> None:
    """The program ``convert_imageset [FLAGS] ROOTFOLDER/ LISTFILE DB_NAME``."""
    parser = _Parser("convert_imageset", "Convert a set of images to an LMDB for Caffe.")
    parser.add_argument("root", help="what is written before each path of the list, with its /")
    parser.add_argument("list", type=Path, help="lines 'path label'")
    parser.add_argument("database", type=Path, help="the LMDB's folder; must not be there yet")
    parser.flag("backend", "lmdb", choices=("lmdb",), default="lmdb")
    parser.flag("resize_width", "width images are resized to", type=int, default=0)
    parser.flag("resize_height", "height images are resized to", type=int, default=0)
    parser.flag("gray", "one channel instead of three", action="store_true")
    parser.flag("shuffle", "in random order", action="store_true")
    parser.flag("check_size", "all records must be of one size", action="store_true")
    parser.flag("encoded", "keep the images encoded", action="store_true")
    parser.flag("encode_type", "what to encode as ('png', 'jpg', ...)", default="")
    _run(parser, _convert)


def _convert(options: argparse.Namespace) -> None:
    lines = list(_listed(options.list))
    if options.shuffle:
        LOG.info("Shuffling data")
        random.shuffle(lines)
    LOG.info("A total of %d images.", len(lines))
    if options.database.exists():
        raise ToolError(f"{options.database}: is there already; name a new database")
    with whole_directory(options.database) as folder:
        _write(folder, _records(lines, options))


def _write(folder: Path, records: Iterator[tuple[bytes, bytes]]) -> None:
    count, waiting = 0, []
    with lmdb.open(str(folder), map_size=FIRST_MAP_SIZE, lock=False) as environment:
        for record in records:
            waiting.append(record)
            count += 1
            if count % RECORDS_PER_TRANSACTION == 0:
                _put(environment, waiting)
                LOG.info("Processed %d files.", count)
        if waiting:
            _put(environment, waiting)
            LOG.info("Processed %d files.", count)


def _put(environment: lmdb.Environment, waiting: list) -> None:
    while True:
        try:
            with environment.begin(write=True) as transaction:
                transaction.cursor().putmulti(waiting)
            waiting.clear()
            return
        except lmdb.MapFullError:
            environment.set_mapsize(2 * environment.info()["map_size"])


def _listed(path: Path) -> Iterator[tuple[str, int]]:
    if not path.is_file():
        raise ToolError(f"{path}: no such list; expected a file of lines 'path label'")
    text = path.read_bytes().decode("utf-8", "surrogateescape")
    for number, line in enumerate(text.splitlines(), 1):
        name, _, label = line.rstrip().rpartition(" ")
        if not name or re.fullmatch(r"-?\d+", label) is None:
            raise ToolError(f"{path}:{number}: expected 'path label', found {line!r}")
        yield name, int(label)


def _records(
    lines: Sequence[tuple[str, int]], options: argparse.Namespace
) -> Iterator[tuple[bytes, bytes]]:
    size = 0
    for index, (name, label) in enumerate(lines):
        value = _record(options.root + name, label, options)
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
        data = cv2.imencode(f".{wanted}", image)[1].tobytes()
    return bytes(caffe_pb2.Datum(data=data, label=label, encoded=True).SerializeToString())


def _same_kind(suffix: str, wanted: str) -> bool:
    names = {"jpeg": "jpg"}
    return names.get(suffix, suffix) == names.get(wanted, wanted)


# -- compute_image_mean ----------------------------------------------------------------------


def compute_image_mean() -> None:
    """The program ``compute_image_mean [FLAGS] INPUT_DB [OUTPUT_FILE]``."""
    parser = _Parser("compute_image_mean", "Compute the mean image of an LMDB of images.")
    parser.add_argument("database", type=Path, help="the LMDB's folder")
    parser.add_argument("output", type=Path, nargs="?", help="the binaryproto to write")
    parser.flag("backend", "lmdb", choices=("lmdb",), default="lmdb")
    _run(parser, _mean)


def _mean(options: argparse.Namespace) -> None:
    image = mean.mean(options.database)
    if options.output is not None:
        LOG.info("Write to %s", options.output)
        with whole_file(options.output) as partial:
            partial.write_bytes(mean.blob(image).SerializeToString())
    LOG.info("Number of channels: %d", len(image))
    for channel, values in enumerate(image):
        LOG.info("mean_value channel [%d]: %g", channel, values.mean())


# -- parse_log -------------------------------------------------------------------------------

_NUMBER = r"[-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|nan|inf)"
_HEAD = re.compile(r"[IWEF](\d\d)(\d\d) (\d\d:\d\d:\d\d\.\d{6})")
_ITERATION = re.compile(r"Iteration (\d+)\b")
_RATE = re.compile(rf"lr = ({_NUMBER})")
_OUTPUT = re.compile(rf"(Train|Test) net output #\d+: (\S+) = ({_NUMBER})")


def parse_log() -> None:
    """The program ``parse_log LOGFILE OUTPUT_DIR``."""
    parser = _Parser(
        "parse_log", "Write a training log as tables: OUTPUT_DIR/LOGFILE.train and .test (CSV)."
    )
    parser.add_argument("logfile", type=Path, help="a log of caffe train")
    parser.add_argument("output", type=Path, help="the folder of the tables")
    parser.flag("delimiter", "between columns", default=",")
    _run(parser, _parse)


Rows = dict[int, dict[str, float]]


def read_log(text: str) -> dict[str, Rows]:
    """Rows of ``Train`` and ``Test``, by iteration; ``Seconds`` count from the line "Solving"."""
    tables: dict[str, Rows] = {"Train": {}, "Test": {}}
    start, now, iteration, rate = None, None, -1, float("nan")
    for line in text.splitlines():
        if head := _HEAD.match(line):
            now = datetime.strptime("2000{}{} {}".format(*head.groups()), "%Y%m%d %H:%M:%S.%f")
        if start is None and "] Solving " in line:
            start = now
        if found := _ITERATION.search(line):
            iteration = int(found[1])
        if found := _RATE.search(line):
            rate = float(found[1])
            if iteration in tables["Train"]:
                tables["Train"][iteration]["LearningRate"] = rate
        if (output := _OUTPUT.search(line)) and start is not None and now is not None:
            rows = tables[output[1]]
            seconds = (now - start).total_seconds()
            new = {"NumIters": iteration, "Seconds": seconds, "LearningRate": rate}
            rows.setdefault(iteration, new)[output[2]] = float(output[3])
    return tables


def _parse(options: argparse.Namespace) -> None:
    if not options.logfile.is_file():
        raise ToolError(f"{options.logfile}: no such log")
    tables = read_log(options.logfile.read_text(encoding="utf-8", errors="replace"))
    if not any(tables.values()):
        raise ToolError(f"{options.logfile}: expected the log of a training, found no outputs")
    options.output.mkdir(parents=True, exist_ok=True)
    for kind, rows in tables.items():
        path = options.output / f"{options.logfile.name}.{kind.lower()}"
        with path.open("w", encoding="utf-8", newline="") as stream:
            columns = list(dict.fromkeys(name for row in rows.values() for name in row))
            writer = csv.DictWriter(stream, columns, delimiter=options.delimiter)
            writer.writeheader()
            writer.writerows(rows.values())
        LOG.info("Wrote %s", path)


if __name__ == "__main__":
    known = {"convert_imageset", "compute_image_mean", "parse_log"}
    if len(sys.argv) < 2 or sys.argv[1] not in known:
        sys.exit(f"python -m caffetools.programs {'|'.join(sorted(known))} ...")
    globals()[sys.argv.pop(1)]()
