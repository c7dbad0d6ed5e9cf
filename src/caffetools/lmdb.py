"""Write the images of a list to an LMDB, as BVLC's ``convert_imageset`` does.

A record's key is its place in the list and its path, ``00000042_cat/a.png``; its value is a
serialized ``Datum`` with channels, height, width, data (uint8, channel by channel, BGR),
label and encoded (false). With ``--encode`` it is a PNG, which loses nothing, or a JPEG, and
encoded is true. Images are resized by OpenCV's bilinear interpolation to ``--width`` and
``--height``, regardless of their proportions; ``--fit`` tells other ways.

What differs from ``convert_imageset``: an image that cannot be read, is cut off, or has more than
``--max-pixels`` ends the run instead of being skipped, ``--shuffle`` is seeded, all cores work,
and the database is written beside its place and renamed, so that it is whole or absent. Its bytes
hang on images, list and options alone. ``OUTPUT.json``, written last, describes it: number of
entries, shape, how images were fitted and encoded, labels, mean of each channel in all and by
class (before a JPEG is made), and the SHA-256 over all keys and values in order.

With ``--labels K`` a line of the list is ``path label1 ... labelK``, and a second LMDB beside the
first, ``OUTPUT_labels``, has the labels: under the same keys in the same order, Datums of
float_data and the shape K x 1 x 1. A net reads them by a Data layer of its own; the label of the
images' records is 0.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Optional, TypeVar

import cv2
import numpy as np

from caffetools import databases
from caffetools.ahead import ahead
from caffetools.cli import ToolError, run
from caffetools.databases import LONGEST_KEY
from caffetools.datums import datum_bytes, encoded_datum_bytes, planes_bytes
from caffetools.encoded_images import encode
from caffetools.files import whole_directory, write_json
from caffetools.fitting import MODES, Fit
from caffetools.folders import lies_inside, refuse_foreign
from caffetools.images import MAX_PIXELS, read_checked
from caffetools.lists import Listed, Vector, read_list, read_vectors

LOG = logging.getLogger("caffetools.lmdb")

Shape = tuple[int, int, int]
Line = TypeVar("Line", Listed, Vector)

# Records by whose size the room that all need is told: few, so that little is written before, and
# many enough that one large image does not speak for all.
_SIZED = 100


class Record(NamedTuple):
    """One entry of the database, with what the manifest tells of it."""

    key: bytes
    value: bytes
    label: int
    shape: Shape
    sums: np.ndarray  # of each channel's pixels


@dataclass
class Manifest:
    """What has been written: gathered record by record.

    Attributes:
        fit, encoding: of the :class:`Converter`. By ``short`` shapes may differ, and ``shape`` is
            the least of each side.
        pixels: by label, how many a channel has in all its images.
        sums: by label, of each channel's pixels; whole numbers, exact below 2^53.
    """

    fit: Optional[Fit] = None
    encoding: Optional[str] = None
    shape: Optional[Shape] = None
    labels: Counter = field(default_factory=Counter)
    pixels: Counter = field(default_factory=Counter)
    sums: dict[int, np.ndarray] = field(default_factory=dict)
    digest: Any = field(default_factory=hashlib.sha256)

    @property
    def shapes_differ(self) -> bool:
        """Whether they may."""
        return self.fit is not None and self.fit.mode == "short"

    def add(self, record: Record) -> None:
        """Count ``record``. Raises :class:`ToolError` if its shape is not that of the others."""
        if self.shapes_differ and self.shape:
            (channels, height, width), (_, other_height, other_width) = self.shape, record.shape
            self.shape = (channels, min(height, other_height), min(width, other_width))
        elif self.shape not in (None, record.shape):
            raise ToolError(
                f"record {record.key.decode()!r}: expected the first image's shape (channels, "
                f"height, width) {self.shape}, found {record.shape}; give --width and --height"
            )
        else:
            self.shape = record.shape
        self.labels[record.label] += 1
        self.pixels[record.label] += record.shape[1] * record.shape[2]
        self.sums[record.label] = self.sums.get(record.label, 0.0) + record.sums
        self.digest.update(record.key)
        self.digest.update(record.value)

    def as_json(self) -> dict[str, Any]:
        """The manifest as it is written."""
        channels, height, width = self.shape or (0, 0, 0)
        means = {label: self.sums[label] / self.pixels[label] for label in sorted(self.sums)}
        mean = np.sum(list(self.sums.values()), axis=0) / (sum(self.pixels.values()) or 1)
        return {
            "channel_means": _rounded(np.atleast_1d(mean)),
            "channels": channels,
            "class_means": {str(label): _rounded(values) for label, values in means.items()},
            "encode": self.encoding,
            "entries": sum(self.labels.values()),
            "fit": self.fit and self.fit._asdict(),
            "height": height,
            "labels": {str(label): count for label, count in self.labels.items()},
            "sha256": self.digest.hexdigest(),
            "shapes_differ": self.shapes_differ,
            "width": width,
        }


def _rounded(means: np.ndarray) -> list[float]:
    return [round(value, 4) for value in means.tolist()]


# --- from list to records ---------------------------------------------------------------


def shuffled(listed: Sequence[Line], seed: int) -> list[Line]:
    """The same lines in an order that hangs on ``seed`` alone."""
    # RandomState and not default_rng: NumPy promises its stream for all versions.
    return [listed[i] for i in np.random.RandomState(seed).permutation(len(listed))]


_LEAVE_OUT = "run the dataset command again to leave it out"


@contextmanager
def _of(path: Path) -> Iterator[None]:
    """What is raised within is told of the image ``path``."""
    try:
        yield
    except ToolError as error:
        raise ToolError(f"{path}: {error}") from error


@dataclass(frozen=True)
class Converter:
    """Reads images under ``root`` and makes records of them.

    ``fit`` is None to leave the images as large as they are, ``encoding`` None to store pixels,
    else ``png`` or ``jpg``. Images of more than ``max_pixels`` are not decoded.
    """

    root: Path
    fit: Optional[Fit] = None
    gray: bool = False
    encoding: Optional[str] = None
    max_pixels: int = MAX_PIXELS

    def record(self, index: int, listed: Listed) -> Record:
        """The record of one image. Raises :class:`ToolError` if it cannot be read or stored."""
        key = _key(index, listed.path)
        image = self._image(listed.path)
        height, width, channels = image.shape
        if self.encoding is None:
            value = datum_bytes(image, listed.label)
        else:
            with _of(self.root / listed.path):
                content = encode(image, self.encoding)
            value = encoded_datum_bytes(content, listed.label)
        sums = np.array(cv2.sumElems(image)[:channels])
        return Record(key, value, listed.label, (channels, height, width), sums)

    def _image(self, relative: str) -> np.ndarray:
        path = self.root / relative
        if not lies_inside(path, self.root):
            raise ToolError(f"{relative!r}: leads out of --root {self.root}")
        if not path.is_file():
            raise ToolError(f"{path}: expected an image, found no file; {_LEAVE_OUT}")
        image, reason = read_checked(path, self.gray, self.max_pixels)
        if image is None:
            raise ToolError(f"{path}: expected an image, found that it {reason}; {_LEAVE_OUT}")
        with _of(path):
            return self.fit(image) if self.fit else image

    def records(self, listed: Sequence[Listed], workers: Optional[int] = None) -> Iterator[Record]:
        """The records in order; a few images ahead are decoded in parallel."""
        return ahead(lambda item: self.record(*item), enumerate(listed), workers)


def label_records(vectors: Sequence[Vector]) -> Iterator[Record]:
    """The records of the images' label vectors, with the keys of the images' own."""
    for index, vector in enumerate(vectors):
        planes = vector.labels.reshape(-1, 1, 1)
        sums = planes.sum(axis=(1, 2), dtype=np.float64)
        yield Record(_key(index, vector.path), planes_bytes(planes), 0, (len(planes), 1, 1), sums)


def _key(index: int, path: str) -> bytes:
    key = f"{index:08d}_{path}".encode()
    if len(key) > LONGEST_KEY:
        raise ToolError(
            f"{path!r}: expected at most {LONGEST_KEY - 9} bytes, the longest that "
            f"LMDB takes as a key, found {len(key) - 9}; use shorter names"
        )
    return key


# --- from records to a database ---------------------------------------------------------


def write(
    records: Iterator[Record],
    output: Path,
    count: int,
    fit: Optional[Fit] = None,
    encoding: Optional[str] = None,
) -> dict[str, Any]:
    """Write ``count`` records, whose keys ascend, to the LMDB ``output``, and its manifest.

    ``fit`` and ``encoding`` are the :class:`Converter`'s. Returns the manifest. Nothing is left at
    ``output`` or changed there if a record fails, or if the disk has no room for that many of the
    size that the first ones have on average.
    """
    return write_together([(output, records, Manifest(fit, encoding))], count)[0]


def write_together(
    parts: Sequence[tuple[Path, Iterator[Record], Manifest]], count: int
) -> list[dict[str, Any]]:
    """Write several LMDBs of ``count`` records each as :func:`write` does one: all or none."""
    beside = [output.with_name(f"{output.name}.json") for output, _, _ in parts]
    for output, _, _ in parts:
        refuse_foreign(output, {"data.mdb", "lock.mdb"}.__contains__)
    with contextlib.ExitStack() as stack:
        for output, records, manifest in parts:
            folder = stack.enter_context(whole_directory(output))
            databases.write(folder, _counted(records, manifest, folder, count))
        # Before the first of them takes its place: no manifest tells of another LMDB than its own.
        for path in beside:
            if path.exists():
                path.unlink()
    written = [manifest.as_json() for _, _, manifest in parts]
    for path, facts in zip(beside, written):
        write_json(path, facts)
    return written


def _counted(
    records: Iterator[Record], manifest: Manifest, folder: Path, count: int
) -> Iterator[tuple[bytes, bytes]]:
    size = 0
    for number, record in enumerate(records, 1):
        size += len(record.value)
        if number == min(_SIZED, count):
            databases.require_room(folder, count, size // number)
        manifest.add(record)
        yield record.key, record.value


# --- the command ------------------------------------------------------------------------


def _fit(mode: str, width: Optional[int], height: Optional[int]) -> Optional[Fit]:
    if width is None and height is None:
        if mode != "warp":
            raise ToolError(f"--fit {mode}: expected --width and --height beside it")
        return None
    if width is None or height is None or width < 1 or height < 1:
        raise ToolError(
            f"--width and --height: expected both, at least 1, or none of them; "
            f"found {width} and {height}"
        )
    if width * height > MAX_PIXELS:
        raise ToolError(f"--width {width} --height {height}: expected at most {MAX_PIXELS} pixels")
    return Fit(width, height, mode)


def _read(options: argparse.Namespace) -> tuple[list[Listed], list[Vector]]:
    """The lines of the list in the order of the records, and with ``--labels`` their vectors."""
    if options.labels is None:
        listed = read_list(options.list)
        return (shuffled(listed, options.seed) if options.shuffle else listed), []
    if options.labels < 1:
        raise ToolError(f"--labels: expected at least 1, found {options.labels}")
    vectors = read_vectors(options.list, options.labels)
    if options.shuffle:
        vectors = shuffled(vectors, options.seed)
    return [Listed(vector.path, 0) for vector in vectors], vectors


def convert(options: argparse.Namespace) -> None:
    """The command ``convert``."""
    fit = _fit(options.fit, options.width, options.height)
    if options.workers is not None and options.workers < 1:
        raise ToolError(f"--workers: expected at least 1, found {options.workers}")
    if options.max_pixels < 1:
        raise ToolError(f"--max-pixels: expected at least 1, found {options.max_pixels}")
    if not 0 <= options.seed < 2**32:
        raise ToolError(f"--seed: expected a number from 0 to {2**32 - 1}, found {options.seed}")
    if not options.root.is_dir():
        raise ToolError(f"--root {options.root}: no such folder; give the dataset's source")
    listed, vectors = _read(options)
    converter = Converter(options.root, fit, options.gray, options.encode, options.max_pixels)
    records = converter.records(listed, options.workers)
    parts = [(options.output, records, Manifest(fit, options.encode))]
    beside = options.output.with_name(f"{options.output.name}_labels")
    if vectors:
        parts.append((beside, label_records(vectors), Manifest()))
    elif beside.with_name(f"{beside.name}.json").exists():
        raise ToolError(
            f"{beside}: has label vectors of an earlier run with --labels, which would not be of "
            "these images; give --labels again, remove it and its .json, or choose another --output"
        )
    facts = write_together(parts, len(listed))[0]
    shape = "x".join(str(facts[name]) for name in ("channels", "height", "width"))
    LOG.info("%s: %d images of %s", options.output, facts["entries"], shape)


def main(arguments: Sequence[str]) -> Optional[int]:
    """``python -m caffetools.lmdb convert --list FILE --root DIR --output DIR``."""
    parser = argparse.ArgumentParser(prog="python -m caffetools.lmdb", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("convert", help="images to an LMDB")
    one.add_argument("--list", type=Path, required=True, help="lines 'path label'")
    one.add_argument("--root", type=Path, required=True, help="what the paths are relative to")
    one.add_argument("--output", type=Path, required=True, help="the LMDB's folder")
    one.add_argument("--width", type=int, help="resize to this many pixels")
    one.add_argument("--height", type=int, help="resize to this many pixels")
    one.add_argument("--fit", choices=MODES, default="warp", help="how (default: warp)")
    one.add_argument("--encode", choices=("png", "jpg"), help="store images so, not as pixels")
    one.add_argument("--gray", action="store_true", help="one channel instead of three (BGR)")
    one.add_argument(
        "--max-pixels", type=int, default=MAX_PIXELS, metavar="N",
        help="images of more are not decoded (default: %(default)s)",
    )  # fmt: skip
    one.add_argument("--labels", type=int, metavar="K", help="numbers a line, to an LMDB beside")
    one.add_argument("--shuffle", action="store_true", help="in random order")
    one.add_argument("--seed", type=int, default=0, help="for --shuffle")
    one.add_argument("--workers", type=int, metavar="N", help="threads (default: one a core)")
    convert(parser.parse_args(arguments))
    return None


if __name__ == "__main__":
    run(main)
