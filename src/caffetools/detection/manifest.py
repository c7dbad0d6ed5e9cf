"""The manifest of a detection data set: images and the boxes in them, whatever they came from.

``manifest.jsonl`` has one JSON object a line and image, in UTF-8:

    {"path": "a.jpg", "split": "train", "group": "", "width": 500, "height": 375, "bytes": 1024,
     "sha256": "…", "source": "a.xml", "dropped": "",
     "boxes": [{"class": "cat", "corners": [10, 20, 109, 219], "difficult": false,
                "truncated": false, "crowd": false, "source": "a.xml:12"}]}

Corners are ``x1, y1, x2, y2`` in pixels, counted from 0. Both belong to the box, which is
``x2 - x1 + 1`` wide; they may be fractions.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from caffetools.cli import ToolError
from caffetools.files import whole_file

BACKGROUND = "__background__"
Corners = tuple[float, float, float, float]


class Box(NamedTuple):
    """One object in an image.

    Attributes:
        class_name: what it is.
        corners: ``(x1, y1, x2, y2)`` as in the manifest.
        difficult: neither a miss nor a find counts for it, as VOC defines it.
        truncated: a part of the object lies outside the image.
        crowd: stands for many objects of the class, as COCO's ``iscrowd``; not learnt from.
        source: the file and line, or entry, that it was read from.
    """

    class_name: str
    corners: Corners
    difficult: bool = False
    truncated: bool = False
    crowd: bool = False
    source: str = ""


class Picture(NamedTuple):
    """One image and all its boxes.

    Attributes:
        path: relative to the folder of images.
        split: train, val, test, or empty.
        group: images of one group lie in one split; empty where there are no groups.
        width, height: in pixels, as OpenCV reads the image.
        bytes: the file's size.
        sha256: of the file.
        source: the file that the boxes were read from.
        dropped: why the image is left out; empty if it is not.
    """

    path: str
    boxes: tuple[Box, ...] = ()
    split: str = ""
    group: str = ""
    width: int = 0
    height: int = 0
    bytes: int = 0
    sha256: str = ""
    source: str = ""
    dropped: str = ""


Entry = TypeVar("Entry", Box, Picture)


def write(path: Path, pictures: Iterable[Picture]) -> None:
    """Write a manifest, whole or not at all."""
    with whole_file(path) as partial, partial.open("w", encoding="utf-8") as stream:
        for picture in pictures:
            stream.write(json.dumps(_as_json(picture), ensure_ascii=False) + "\n")


def read(path: Path) -> list[Picture]:
    """The pictures of a manifest, in its order.

    Raises :class:`ToolError` with the line where it is none.
    """
    try:
        with path.open(encoding="utf-8") as stream:
            return list(_pictures(path, stream))
    except (OSError, UnicodeDecodeError) as error:
        raise ToolError(f"{path}: cannot be read as a manifest of boxes: {error}") from error


def _pictures(path: Path, lines: Iterable[str]) -> Iterator[Picture]:
    for number, line in enumerate(lines, 1):
        try:
            yield _from_json(json.loads(line))
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise ToolError(
                f"{path}:{number}: expected an image and its boxes as the detection data set's "
                f"command writes them, found a line that is none ({error!r}); make it again"
            ) from error


def _as_json(picture: Picture) -> dict[str, Any]:
    boxes = [{"class": box.class_name, **box._asdict()} for box in picture.boxes]
    for box in boxes:
        del box["class_name"]
    return {**picture._asdict(), "boxes": boxes}


def _from_json(found: dict[str, Any]) -> Picture:
    boxes = []
    for box in found.pop("boxes"):
        x1, y1, x2, y2 = map(float, box.pop("corners"))
        boxes.append(_typed(Box(class_name=box.pop("class"), corners=(x1, y1, x2, y2), **box)))
    return _typed(Picture(boxes=tuple(boxes), **found))


def _typed(entry: Entry) -> Entry:
    """The entry, whose values must be of the types that their defaults are of, or texts."""
    defaults = {"corners": (), **entry._field_defaults}
    for name, value in entry._asdict().items():
        expected = type(defaults.get(name, ""))
        if type(value) is not expected:
            raise TypeError(f"{name}: expected {expected.__name__}, found {value!r}")
    return entry
