"""Bring the images of a table of URLs here, one folder a class.

The table is CSV, or TSV where its name says so, compressed by gzip or not, with a header. Images
are fetched several at a time, a few from each host, and kept in ``--store`` under names of their
own, so that a call that was stopped goes on where it ended. ``lost.csv`` tells which images are
not to be had and why: of old tables many are not. More than ``--lost`` of them stop the run.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import hashlib
import io
import logging
import os
import shutil
import urllib.parse
import zlib
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Semaphore
from typing import Optional

from caffetools.classes import class_folders
from caffetools.cli import ToolError, run
from caffetools.download import Partial, download
from caffetools.files import checksum, whole_directory, write_csv
from caffetools.folders import lies_inside, refuse_foreign
from caffetools.images import EXTENSIONS, read_checked
from caffetools.stored_images.store import HEADER, SPLITS

LOG = logging.getLogger("caffetools.url_images")

AT_ONCE = 16
AT_ONCE_FROM_A_HOST = 4
TIMEOUT = 30.0  # seconds without a byte
LONGEST = 600.0  # seconds for an image, of a host that sends a byte now and then
WAITS = (1.0, 5.0)  # seconds before the second and third attempt
MAX_BYTES = 100_000_000  # an image
LOST = "lost.csv"


@dataclass(frozen=True)
class Row:
    """An image of the table; ``lost`` says why it is not to be had, if it is not."""

    url: str
    label: int
    lost: str = ""
    split: str = ""
    group: str = ""

    @property
    def file_name(self) -> str:
        """A name that hangs on the URL alone."""
        extension = Path(_parts(self.url).path).suffix.lower()
        digest = hashlib.sha1(self.url.encode("utf-8", "surrogateescape")).hexdigest()
        return digest[:20] + (extension if extension in EXTENSIONS else ".jpg")


def _parts(url: str) -> urllib.parse.SplitResult:
    """The parts of an address, all empty where it is none."""
    try:
        return urllib.parse.urlsplit(url)
    except ValueError:
        return urllib.parse.urlsplit("")


# --- the table --------------------------------------------------------------------------


def read_table(
    path: Path,
    url: str,
    label: str,
    labels: Optional[int] = None,
    split: Optional[str] = None,
    group: Optional[str] = None,
) -> list[Row]:
    """The rows whose label is below ``labels``, each URL once, in the order of the table.

    ``url``, ``label``, and where they are given ``split`` and ``group`` name the columns. Raises
    :class:`ToolError` for a table without them, and for a label that is no whole number.
    """
    rows: dict[str, Row] = {}
    columns = [column for column in (url, label, split, group) if column is not None]
    for number, record in enumerate(_records(path, columns), start=2):
        try:
            row = Row(record[url].strip(), int(record[label]))
        except (TypeError, ValueError, AttributeError) as error:
            raise ToolError(
                f"{path}, row {number}: expected a whole number in the column {label!r} and an "
                f"address in {url!r}, found {record[label]!r} and {record[url]!r}"
            ) from error
        if row.label < 0:
            raise ToolError(f"{path}, row {number}: the label is {row.label}, expected 0 or more")
        if split is not None:
            row = replace(row, split=_split(record[split] or "", f"{path}, row {number}"))
        if group is not None:
            row = replace(row, group=(record[group] or "").strip())
        if labels is None or row.label < labels:
            first = rows.setdefault(row.url, row)
            if first.label != row.label:
                LOG.warning(
                    "%s, row %d: %s has the label %d here and %d before, which counts",
                    *(path, number, row.url, row.label, first.label),
                )
    if not rows:
        below = "" if labels is None else f" with a label below {labels}"
        raise ToolError(f"{path}: expected rows, found none{below}")
    return list(rows.values())


def _split(word: str, place: str) -> str:
    split = SPLITS.get(word.strip().lower(), "")
    if word.strip() and not split:
        raise ToolError(f"{place}: expected a split, {', '.join(SPLITS)}, found {word!r}")
    return split


def _records(path: Path, columns: Sequence[str]) -> Iterator[dict[str, str]]:
    delimiter = "\t" if ".tsv" in path.suffixes else ","
    try:
        text = _text(path)
        with text:
            reader = csv.DictReader(text, delimiter=delimiter)
            found = reader.fieldnames or []
            missing = [name for name in columns if name not in found]
            if missing:
                raise ToolError(
                    f"{path}: expected a column {missing[0]!r}, found "
                    f"{', '.join(map(repr, found)) or 'no header'}"
                )
            yield from reader
    except (OSError, EOFError, UnicodeDecodeError, csv.Error, zlib.error) as error:
        raise ToolError(f"{path}: cannot be read as a table: {error}") from error


def _text(path: Path) -> io.TextIOBase:
    if path.suffix == ".gz":
        return io.TextIOWrapper(gzip.open(path), encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


# --- the images -------------------------------------------------------------------------


def bring(
    rows: Sequence[Row], store: Path, placeholders: Collection[str], max_bytes: int = MAX_BYTES
) -> list[Row]:
    """Bring every row's image to ``store``; the rows again, with the reason where one is lost.

    ``placeholders`` are SHA-1s of what hosts send in place of an image that is gone. What has more
    than ``max_bytes`` is lost.
    """
    store.mkdir(parents=True, exist_ok=True)
    hosts: dict[str, Semaphore] = defaultdict(lambda: Semaphore(AT_ONCE_FROM_A_HOST))
    limits = [hosts[_parts(row.url).netloc] for row in rows]
    decoding = Semaphore(len(os.sched_getaffinity(0)))  # an image may take half a gigabyte

    def one(row: Row, limit: Semaphore) -> Row:
        with limit:
            lost = _bring(row, store, max_bytes)
        with decoding:
            return replace(row, lost=lost or _unfit(store / row.file_name, placeholders))

    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        return list(pool.map(one, rows, limits))


def _bring(row: Row, store: Path, max_bytes: int) -> str:
    """Why the image is not to be had, or nothing: then it is in the store."""
    if _parts(row.url).scheme not in ("http", "https"):
        return "is no http: or https: address"
    path = store / row.file_name
    if not path.exists():
        partial = Partial(store / f"{row.file_name}.partial", row.url, has_checksum=False)
        try:
            partial.keep_only_if_same()
            download(row.url, partial, TIMEOUT, WAITS, max_bytes, LONGEST)
        except ToolError as error:
            return str(error).replace(f"{row.url}: ", "")
        partial.path.replace(path)
        partial.discard()
    return ""


def _unfit(path: Path, placeholders: Collection[str]) -> str:
    """Why what a host sent is no image of use, or nothing."""
    if checksum(path, "sha1") in placeholders:
        return "is the host's placeholder for an image that is gone"
    _, reason = read_checked(path)
    if reason:
        path.unlink()  # a page that says "busy", for one: the next call asks again
    return reason


def write_folders(rows: Sequence[Row], folders: dict[int, str], store: Path, output: Path) -> None:
    """Write the images that were brought, one folder a class."""
    with whole_directory(output) as partial:
        for name in folders.values():
            (partial / name).mkdir()
        for row in rows:
            if not row.lost:
                _link(store / row.file_name, partial / folders[row.label] / row.file_name)


def write_index(rows: Sequence[Row], folders: dict[int, str], path: Path) -> None:
    """Write a row for each image that was brought, as ``caffetools.dataset --index`` takes it."""
    brought = [(row, folders[row.label]) for row in rows if not row.lost]
    table = (
        (f"{name}/{row.file_name}", row.label, name, row.split, row.group) for row, name in brought
    )
    write_csv(path, HEADER, table)


def _link(source: Path, target: Path) -> None:
    """The same bytes without a copy, where the file system can."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def write_lost(rows: Sequence[Row], path: Path) -> int:
    """Write the rows that are lost, with the reasons; return how many there are."""
    lost = [row for row in rows if row.lost]
    write_csv(path, ("url", "label", "reason"), ((row.url, row.label, row.lost) for row in lost))
    return len(lost)


def main(arguments: Sequence[str]) -> None:
    """``python -m caffetools.url_images --table FILE --output DIR``"""
    parser = argparse.ArgumentParser(
        prog="python -m caffetools.url_images",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--table", type=Path, required=True, help="CSV or TSV with a header")
    add("--url", default="url", metavar="COLUMN", help="of the addresses (default: url)")
    add("--label", default="label", metavar="COLUMN", help="of the labels (default: label)")
    add("--split", metavar="COLUMN", help="of train, val or test")
    add("--group", metavar="COLUMN", help="of what images of one group have in common")
    add("--names", type=Path, help="file with the class of each label, a line each")
    add("--labels", type=int, help="take labels below this number alone")
    add("--placeholder", nargs="+", default=[], metavar="SHA1", help="what is no image of theirs")
    add("--max-bytes", type=int, default=MAX_BYTES, help="of an image (default: %(default)s)")
    add("--lost", type=float, default=0.0, help="share that may be lost (default: 0)")
    add("--store", type=Path, required=True, help="folder that keeps downloads")
    add("--output", type=Path, required=True, help="folder for the class folders")
    add("--index", type=Path, required=True, help="CSV of what is in it")
    add("--table-of-lost", type=Path, required=True, help="CSV of what is not to be had")
    options = parser.parse_args(arguments)
    for name in ("table", "store", "index", "table_of_lost"):
        if lies_inside(getattr(options, name), options.output):
            raise ToolError(
                f"--{name.replace('_', '-')} {getattr(options, name)}: lies in {options.output}, "
                "which is replaced; choose another"
            )
    rows = read_table(
        options.table, options.url, options.label, options.labels, options.split, options.group
    )
    folders = class_folders(options.names, {row.label for row in rows})
    refuse_foreign(options.output, set(folders.values()).__contains__)
    placeholders = {digest.lower() for digest in options.placeholder}
    brought = bring(rows, options.store, placeholders, options.max_bytes)
    lost = write_lost(brought, options.table_of_lost)
    if lost > options.lost * len(rows):
        first = next(row for row in brought if row.lost)
        raise ToolError(
            f"{options.table}: {lost} of {len(rows)} images are not to be had, and "
            f"{options.lost:.0%} were allowed; the first is {first.url}: {first.lost}. "
            "Allow more of them, or see whether the network is up: what has come is kept"
        )
    bare = {row.label for row in rows} - {row.label for row in brought if not row.lost}
    if bare:
        names = ", ".join(folders[label] for label in sorted(bare))
        raise ToolError(
            f"{options.table}: no image at all is to be had of {names}; expected some of each "
            "class, so leave these out of the table"
        )
    if options.index.exists():
        options.index.unlink()
    write_folders(brought, folders, options.store, options.output)
    write_index(brought, folders, options.index)
    LOG.info("%s: %d images, %d lost", options.output, len(rows) - lost, lost)


if __name__ == "__main__":
    run(main)
