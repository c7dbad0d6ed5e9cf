"""IDX, the format of MNIST and of what followed it.

A file is a magic number (two zero bytes, the type of the values, the number of axes), the length
of each axis as a big-endian 32-bit number, and the values. Images are unsigned bytes (type 8) on
three axes, labels on one; for the format see the page of MNIST, http://yann.lecun.com/exdb/mnist.
"""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import numpy as np

from caffetools.cli import ToolError
from caffetools.compressed import allowance, decompressed, told
from caffetools.stored_images.store import SPLITS, Picture, Stored, png

_NAME = re.compile(r"(.*?)[-_.]?(images|labels)[-.]idx[13]-ubyte(\.gz)?")
_UNSIGNED_BYTES = 8
_BLOCK = 1 << 20  # bytes that are read at once


@dataclass(frozen=True)
class Pair:
    """The two files of a split."""

    split: str
    images: Path
    labels: Path


def read(source: Path, names: Optional[list[str]], place: str) -> Stored:
    """What is in the IDX files of the folder ``source``, compressed by gzip or not.

    Of the names of classes they tell nothing. Raises :class:`ToolError` where a file is missing,
    is damaged, claims more than it holds, or has another number of images than of labels.
    """
    pairs = find(source)
    labels = [_labels(pair.labels) for pair in pairs]
    found = frozenset(int(label) for each in labels for label in np.unique(each))
    return Stored(found, names, place, _pictures(pairs, labels))


def find(source: Path) -> list[Pair]:
    """The pairs of files in ``source``, those for training first."""
    found: dict[str, dict[str, Path]] = {}
    # Where a file lies there unpacked beside the packed one, which sorts later, that one is read.
    for path in sorted(source.iterdir(), reverse=True):
        match = _NAME.fullmatch(path.name)
        if match is None:
            continue
        part, kind = match[1], match[2]
        split = SPLITS.get(re.split("[-_.]", part)[-1].lower())
        if split is None:
            raise ToolError(
                f"{path}: expected a name such as train-{kind}-..., t10k-{kind}-... or "
                f"test-{kind}-..., which tells the split"
            )
        former = found.setdefault(split, {}).get(kind)
        if former is not None and former.name != f"{path.name}.gz":
            raise ToolError(f"{path}: found {former.name} as well; expected one file of {split}")
        found[split][kind] = path
    if not found:
        raise ToolError(
            f"{source}: expected IDX files such as train-images-idx3-ubyte.gz and "
            "train-labels-idx1-ubyte.gz, found none"
        )
    for files in found.values():
        for kind, other in (("images", "labels"), ("labels", "images")):
            if kind not in files:
                raise ToolError(f"{files[other]}: expected a file of {kind} beside it, found none")
    return [
        Pair(split, found[split]["images"], found[split]["labels"])
        for split in ("train", "val", "test")
        if split in found
    ]


def _header(stream: io.BufferedIOBase, path: Path, axes: int) -> list[int]:
    """The length of each axis, which is no larger than what can be in the file."""
    header = stream.read(4 + 4 * axes)
    expected = bytes((0, 0, _UNSIGNED_BYTES, axes))
    if header[:4] != expected:
        raise ToolError(
            f"{path}: expected an IDX file of unsigned bytes on {axes} axes, which begins with "
            f"{expected.hex()}, found {header[:4].hex() or 'nothing'}"
        )
    if len(header) < 4 + 4 * axes:
        raise EOFError("it ends in its header")
    lengths = list(struct.unpack_from(f">{axes}I", header, 4))
    if 0 in lengths:
        raise ToolError(f"{path}: expected lengths above 0, found {lengths}")
    claimed = 1
    for length in lengths:
        claimed *= length
    if claimed > allowance(path):
        raise ToolError(
            f"{path}: claims {' x '.join(map(str, lengths))} values, more than can be in its "
            f"{path.stat().st_size} bytes"
        )
    return lengths


def _require_end(stream: io.BufferedIOBase, path: Path) -> None:
    if stream.read(1):
        raise ToolError(f"{path}: expected its end after the values that it claims, found more")


def _labels(path: Path) -> np.ndarray:
    """``(N,)`` uint8."""
    with path.open("rb") as raw, told(path):
        stream = decompressed(raw)
        (count,) = _header(stream, path, 1)
        values = stream.read(count)
        if len(values) < count:
            raise EOFError(f"it claims {count} labels and holds {len(values)}")
        _require_end(stream, path)
    return np.frombuffer(values, np.uint8)


def _pictures(pairs: Sequence[Pair], labels: Sequence[np.ndarray]) -> Iterator[Picture]:
    for pair, own in zip(pairs, labels):
        number = 0
        for images in _images(pair, len(own)):
            for image in images:
                yield Picture(pair.split, number, int(own[number]), png(image))
                number += 1


def _images(pair: Pair, count: int) -> Iterator[np.ndarray]:
    """Blocks of ``(n, H, W)`` uint8, of ``count`` images in all."""
    path = pair.images
    with path.open("rb") as raw:
        with told(path):
            stream = decompressed(raw)
            claimed, height, width = _header(stream, path, 3)
        if claimed != count:
            raise ToolError(f"{path}: has {claimed} images, and {pair.labels} {count} labels")
        each = max(1, _BLOCK // (height * width))
        for start in range(0, count, each):
            size = min(each, count - start) * height * width
            with told(path):
                block = stream.read(size)
                if len(block) < size:
                    raise EOFError(f"it claims {count} images and holds fewer")
            yield np.frombuffer(block, np.uint8).reshape(-1, height, width)
        with told(path):
            _require_end(stream, path)
