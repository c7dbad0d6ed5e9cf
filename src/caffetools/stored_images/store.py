"""Class folders and an index from images that come one after the other."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import numpy as np

from caffetools.cli import ToolError
from caffetools.encoded_images import encode
from caffetools.files import whole_directory, whole_file
from caffetools.folders import lies_inside, refuse_foreign

HEADER = ("path", "label", "class", "split", "group")

# What files call the splits.
SPLITS = {
    **{"train": "train", "training": "train"},
    **{"val": "val", "valid": "val", "validation": "val", "dev": "val"},
    **{"test": "test", "testing": "test", "t10k": "test"},
}

# By how a file begins what it is called; OpenCV goes by the content itself.
_ENDINGS = (
    (b"\xff\xd8\xff", ".jpg"),
    (b"\x89PNG\r\n\x1a\n", ".png"),
    (b"BM", ".bmp"),
    (b"II*\0", ".tif"),
    (b"MM\0*", ".tif"),
    (b"\0\0\0\x0cjP  ", ".jp2"),
)


@dataclass(frozen=True)
class Picture:
    """An image as it is written.

    Attributes:
        split: ``train``, ``val``, ``test``, or empty where the files do not tell.
        number: its place in the split, from 0.
        content: a whole file, and ``ending`` that of its name.
    """

    split: str
    number: int
    label: int
    content: bytes
    ending: str = ".png"


@dataclass(frozen=True)
class Stored:
    """What the files of a format hold.

    Attributes:
        labels: those that occur.
        names: the class of each label, from 0, and ``place`` where that is told; None where it
            is not.
        pictures: the images, read while they are asked for.
    """

    labels: frozenset[int]
    names: Optional[list[str]]
    place: str
    pictures: Iterator[Picture]


def png(image: np.ndarray) -> bytes:
    """A uint8 image ``(H, W)`` or ``(H, W, 3)`` in BGR as PNG, which keeps each pixel."""
    return encode(image, "png")


def ending(content: bytes) -> str:
    """What a file of this content is called; ``.jpg`` where it is none that is known.

    Under such a name the next command finds it, and drops it by name where it is no image.
    """
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return ".webp"
    return next((name for magic, name in _ENDINGS if content.startswith(magic)), ".jpg")


def write(
    pictures: Iterable[Picture], folders: Mapping[int, str], output: Path, index: Path
) -> int:
    """Write each picture to its class' folder in ``output``; return how many there were.

    ``index`` becomes a CSV of :data:`HEADER` with a row a picture, ``path`` relative to
    ``output``. It is written last, and an old one removed first.
    """
    if lies_inside(index, output):
        raise ToolError(f"--index {index}: lies in {output}, which is replaced; choose another")
    refuse_foreign(output, set(folders.values()).__contains__)
    count = 0
    with whole_file(index) as partial, partial.open("w", newline="", encoding="utf-8") as stream:
        rows = csv.writer(stream, lineterminator="\n")
        rows.writerow(HEADER)
        with whole_directory(output) as folder:
            for name in folders.values():
                (folder / name).mkdir()
            for each in pictures:
                class_name = folders[each.label]
                path = f"{class_name}/{each.split or 'image'}.{each.number:06d}{each.ending}"
                (folder / path).write_bytes(each.content)
                rows.writerow((path, each.label, class_name, each.split, ""))
                count += 1
            if index.exists():
                index.unlink()
    return count
