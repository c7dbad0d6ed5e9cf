"""Write the images of a list to an LMDB, as BVLC's ``convert_imageset`` does.

A record's key is its place in the list and its path, ``00000042_cat/a.png``; its value is a
serialized ``Datum`` with channels, height, width, data (uint8, channel by channel, BGR),
label and encoded (false). Images are resized by OpenCV's bilinear interpolation to
``--width`` and ``--height``, regardless of their proportions.

What differs from ``convert_imageset``: an image that cannot be read ends the run instead of
being skipped, ``--shuffle`` is seeded, and the database is written beside its place and
renamed, so that it is whole or absent. ``OUTPUT.json``, written last, describes it: number
of entries, shape, labels, and the SHA-256 over all keys and values in order.
"""

from __future__ import annotations

import argparse
import hashlib
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Optional

import numpy as np

from caffe.proto import caffe_pb2
from caffetools import databases
from caffetools.ahead import ahead
from caffetools.cli import ToolError, run
from caffetools.databases import LONGEST_KEY
from caffetools.files import whole_directory, write_json
from caffetools.folders import lies_inside, refuse_foreign
from caffetools.images import read_image, resize
from caffetools.lists import Listed, read_list

LOG = logging.getLogger("caffetools.lmdb")

Shape = tuple[int, int, int]


class Record(NamedTuple):
    """One entry of the database, with what the manifest tells of it."""

    key: bytes
    value: bytes
    label: int
    shape: Shape


@dataclass
class Manifest:
    """What has been written: gathered record by record."""

    shape: Optional[Shape] = None
    labels: Counter = field(default_factory=Counter)
    digest: Any = field(default_factory=hashlib.sha256)

    def add(self, record: Record) -> None:
        """Count ``record``. Raises :class:`ToolError` if its shape is not that of the others."""
        if self.shape not in (None, record.shape):
            raise ToolError(
                f"record {record.key.decode()!r}: expected the first image's shape (channels, "
                f"height, width) {self.shape}, found {record.shape}; give --width and --height"
            )
        self.shape = record.shape
        self.labels[record.label] += 1
        self.digest.update(record.key)
        self.digest.update(record.value)

    def as_json(self) -> dict[str, Any]:
        """The manifest as it is written."""
        channels, height, width = self.shape or (0, 0, 0)
        return {
            "channels": channels,
            "entries": sum(self.labels.values()),
            "height": height,
            "labels": {str(label): count for label, count in self.labels.items()},
            "sha256": self.digest.hexdigest(),
            "width": width,
        }


# --- from list to records ---------------------------------------------------------------


def shuffled(listed: Sequence[Listed], seed: int) -> list[Listed]:
    """The same lines in an order that hangs on ``seed`` alone."""
    # RandomState and not default_rng: NumPy promises its stream for all versions.
    return [listed[i] for i in np.random.RandomState(seed).permutation(len(listed))]


def datum_bytes(image: np.ndarray, label: int) -> bytes:
    """A uint8 image ``(H, W, C)`` and its label as a serialized ``Datum``."""
    height, width, channels = image.shape
    datum = caffe_pb2.Datum(
        channels=channels,
        height=height,
        width=width,
        data=image.transpose(2, 0, 1).tobytes(),
        label=label,
        # Written although it is the default, since BVLC's writes it.
        encoded=False,
    )
    return datum.SerializeToString()


@dataclass(frozen=True)
class Converter:
    """Reads images under ``root`` and makes records of them.

    ``size`` is (width, height), or None to leave the images as large as they are.
    """

    root: Path
    size: Optional[tuple[int, int]] = None
    gray: bool = False

    def record(self, index: int, listed: Listed) -> Record:
        """The record of one image. Raises :class:`ToolError` if it cannot be read."""
        key = f"{index:08d}_{listed.path}".encode()
        if len(key) > LONGEST_KEY:
            raise ToolError(
                f"{listed.path!r}: expected at most {LONGEST_KEY - 9} bytes, the longest that "
                f"LMDB takes as a key, found {len(key) - 9}; use shorter names"
            )
        image = self._image(listed.path)
        height, width, channels = image.shape
        value = datum_bytes(image, listed.label)
        return Record(key, value, listed.label, (channels, height, width))

    def _image(self, relative: str) -> np.ndarray:
        path = self.root / relative
        if not lies_inside(path, self.root):
            raise ToolError(f"{relative!r}: leads out of --root {self.root}")
        image = read_image(path, self.gray) if path.is_file() else None
        if image is None:
            raise ToolError(
                f"{path}: expected a readable image, found "
                f"{'one that cannot be decoded' if path.is_file() else 'no file'}; "
                "run the dataset command again to leave it out"
            )
        return resize(image, self.size[1], self.size[0]) if self.size else image

    def records(self, listed: Sequence[Listed]) -> Iterator[Record]:
        """The records in order; a few images ahead are decoded in parallel."""
        return ahead(lambda item: self.record(*item), list(enumerate(listed)))


# --- from records to a database ---------------------------------------------------------


def write(records: Iterator[Record], output: Path) -> dict[str, Any]:
    """Write ``records``, whose keys ascend, to the LMDB ``output`` and its manifest beside it.

    Returns the manifest. Nothing is left at ``output`` or changed there if a record fails.
    """
    refuse_foreign(output, {"data.mdb", "lock.mdb"}.__contains__)
    manifest_path = output.with_name(f"{output.name}.json")
    manifest = Manifest()
    with whole_directory(output) as folder:
        databases.write(folder, _counted(records, manifest))
        if manifest_path.exists():
            manifest_path.unlink()
    write_json(manifest_path, manifest.as_json())
    return manifest.as_json()


def _counted(records: Iterator[Record], manifest: Manifest) -> Iterator[tuple[bytes, bytes]]:
    for record in records:
        manifest.add(record)
        yield record.key, record.value


# --- the command ------------------------------------------------------------------------


def _size(width: Optional[int], height: Optional[int]) -> Optional[tuple[int, int]]:
    if width is None and height is None:
        return None
    if width is None or height is None or width < 1 or height < 1:
        raise ToolError(
            f"--width and --height: expected both, at least 1, or none of them; "
            f"found {width} and {height}"
        )
    return width, height


def convert(options: argparse.Namespace) -> None:
    """The command ``convert``."""
    size = _size(options.width, options.height)
    if not 0 <= options.seed < 2**32:
        raise ToolError(f"--seed: expected a number from 0 to {2**32 - 1}, found {options.seed}")
    if not options.root.is_dir():
        raise ToolError(f"--root {options.root}: no such folder; give the dataset's source")
    listed = read_list(options.list)
    if options.shuffle:
        listed = shuffled(listed, options.seed)
    converter = Converter(options.root, size, options.gray)
    facts = write(converter.records(listed), options.output)
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
    one.add_argument("--gray", action="store_true", help="one channel instead of three (BGR)")
    one.add_argument("--shuffle", action="store_true", help="in random order")
    one.add_argument("--seed", type=int, default=0, help="for --shuffle")
    convert(parser.parse_args(arguments))
    return None


if __name__ == "__main__":
    run(main)
