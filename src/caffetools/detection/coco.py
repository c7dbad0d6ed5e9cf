"""COCO's annotations: JSON files that list images, boxes and categories.

A box ``[x, y, w, h]`` counts from 0 and becomes the corners ``x, y, x + w - 1, y + h - 1``;
``iscrowd`` is the manifest's crowd. Categories' ids may have gaps: classes go by their names. A
file whose name tells train, val or test tells the split of its images, which lie beside the file,
in the source folder or its ``images``, or in a folder there called as the file is after
``instances_``.

Format: https://cocodataset.org/#format-data (object detection).
"""

from __future__ import annotations

import json
import math
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Union

from caffetools.cli import ToolError
from caffetools.detection.annotated import (
    Annotated,
    Annotations,
    Marked,
    UnreadableError,
    four,
    number,
    outside,
    read_bytes,
    relative,
    sorted_images,
    split_called,
    unread,
)
from caffetools.preflight.finding import ERROR, WARNING, Finding

MAX_BYTES = 1 << 30  # of one file; COCO's own have half of that
Id = Union[int, str]
_SPACE = re.compile(r"[ \t\r\n]*")
_FIELDS = {
    "images": ("id", "file_name", "width", "height"),
    "annotations": ("id", "image_id", "category_id", "bbox", "iscrowd"),
    "categories": ("id", "name"),
}


class Item(NamedTuple):
    """One entry of a list: its line, and the fields of it that are used."""

    line: int
    told: dict[str, Any]


def _whole(text: str) -> Union[int, float]:
    """A whole number; one longer than any id is not made digit by digit."""
    return int(text) if len(text) < 20 else math.nan


def items(text: str, place: str) -> dict[str, list[Item]]:
    """The entries of the lists of images, annotations and categories, each with its line.

    Raises :class:`UnreadableError` with the line where it is no JSON object.
    """
    try:
        return _items(text)
    except json.JSONDecodeError as error:
        raise UnreadableError(f"{place}:{error.lineno}", f"expected JSON, {error.msg}") from error
    except RecursionError as error:
        raise UnreadableError(
            place, "expected COCO's annotations, found JSON nested deeply"
        ) from error


def _items(text: str) -> dict[str, list[Item]]:
    decoder = json.JSONDecoder(parse_int=_whole)
    found: dict[str, list[Item]] = {}
    at = _expect(text, _skip(text, 0), "{")
    line, counted, is_first = 1, 0, True
    while text[at : at + 1] != "}":
        at = at if is_first else _expect(text, at, ",")
        is_first = False
        key, at = decoder.raw_decode(text, at)
        if not isinstance(key, str):
            raise json.JSONDecodeError("a name was expected", text, at)
        at = _expect(text, _skip(text, at), ":")
        if key not in _FIELDS or text[at : at + 1] != "[":
            _, at = decoder.raw_decode(text, at)
        else:
            entries = found[key] = []
            at = _expect(text, at, "[")
            while text[at : at + 1] != "]":
                if entries:
                    at = _expect(text, at, ",")
                value, end = decoder.raw_decode(text, at)
                line, counted = line + text.count("\n", counted, at), at
                entries.append(Item(line, _kept(value, _FIELDS[key])))
                at = _skip(text, end)
            at = _expect(text, at, "]")
        at = _skip(text, at)
    end = _skip(text, at + 1)
    if end != len(text):
        raise json.JSONDecodeError("more behind its end", text, end)
    return found


def _kept(value: Any, fields: Sequence[str]) -> dict[str, Any]:
    if not isinstance(value, dict):
        return {}
    return {name: value[name] for name in fields if name in value}


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def _expect(text: str, at: int, sign: str) -> int:
    if text[at : at + 1] != sign:
        raise json.JSONDecodeError(f"{sign!r} was expected", text, at)
    return _skip(text, at + 1)


def read(source: Path, annotations: Sequence[Path] = ()) -> Annotations:
    """All annotations of COCO's files: those named, or those of the source folder.

    Raises :class:`ToolError` where there are none, or one is no COCO file.
    """
    files = sorted(annotations) or _files(source)
    images: list[Annotated] = []
    findings: list[Finding] = []
    names: set[str] = set()
    for file in files:
        for image in _images(file, source, findings, names):
            images.append(image)
    return Annotations(sorted_images(images), findings, files, sorted(names))


def _files(source: Path) -> list[Path]:
    for pattern in ("annotations/instances_*.json", "annotations/*.json", "*.json"):
        if found := sorted(source.glob(pattern)):
            return found
    if found := sorted(source.glob("*/_annotations.coco.json")):
        return found
    raise ToolError(
        f"{source}: expected COCO's annotations as annotations/instances_train.json or the like, "
        "found none; name them by --annotations"
    )


def _images(
    file: Path, source: Path, findings: list[Finding], names: set[str]
) -> Iterator[Annotated]:
    place = relative(file, source)
    try:
        text = read_bytes(file, MAX_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ToolError(f"{file}: expected JSON in UTF-8, found {error}") from error
    found = items(text, str(file))
    if missing := [name for name in _FIELDS if name not in found]:
        raise ToolError(
            f"{file}: expected COCO's instances, with lists of images, annotations and "
            f"categories, found no list of {missing[0]}"
        )
    categories = _categories(found["categories"], place, findings)
    names.update(categories.values())
    boxes = _boxes(found, categories, place, findings)
    split = split_called(file.stem) or split_called(file.parent.name)
    folders = _folders(file, source)
    for item in found["images"]:
        told = item.told
        name, size = told.get("file_name"), (told.get("width"), told.get("height"))
        if not _is_id(told.get("id")) or not isinstance(name, str):
            where = f"{place}:{item.line}"
            findings.append(unread(where, "an image without id or file_name", "add it"))
            continue
        width, height = map(number, size)
        path = next((p for p in (f"{folder}{name}" for folder in folders) if _is_there(source, p)),
                    name)  # fmt: skip
        yield Annotated(
            path,
            boxes[told["id"]],
            split=split,
            source=place,
            size=(width, height) if min(width, height) > 0 else None,
        )


def _folders(file: Path, source: Path) -> list[str]:
    """Where a file's images may lie, as beginnings of paths in the source folder."""
    called = file.stem.split("_", 1)[-1]
    beside = relative(file.parent, source) if source in file.parents else "."
    folders = (beside, ".", "images", called, f"images/{called}")
    return ["" if folder == "." else f"{folder}/" for folder in folders]


def _is_there(source: Path, path: str) -> bool:
    return not outside(path) and "\0" not in path and os.path.isfile(source / path)  # noqa: PTH113


def _is_id(told: object) -> bool:
    return isinstance(told, (int, str)) and not isinstance(told, bool)


def _categories(entries: Sequence[Item], place: str, findings: list[Finding]) -> dict[Id, str]:
    categories: dict[Id, str] = {}
    for line, told in entries:
        where, name = f"{place}:{line}", told.get("name")
        if not _is_id(told.get("id")) or not isinstance(name, str) or not name.strip():
            findings.append(unread(where, "a category without id or name", "add it"))
        elif told["id"] in categories:
            raise ToolError(f"{where}: the category id {told['id']!r} stands there twice")
        else:
            categories[told["id"]] = name.strip()
    twice = [name for name, count in Counter(categories.values()).items() if count > 1]
    if twice:
        found = f"{len(twice)} names are those of several categories ({twice[0][:40]!r})"
        findings.append(Finding(WARNING, "classes", place, found, "expected one class a name"))
    return categories


def _boxes(
    found: dict[str, list[Item]], categories: dict[Id, str], place: str, findings: list[Finding]
) -> dict[Id, list[Marked]]:
    """Each image's boxes, by its id."""
    images = {item.told["id"] for item in found["images"] if _is_id(item.told.get("id"))}
    if len(images) < len(found["images"]):
        ids = Counter(str(item.told.get("id"))[:40] for item in found["images"])
        first, count = ids.most_common(1)[0]
        if count > 1:
            raise ToolError(f"{place}: the image id {first} stands there {count} times")
    boxes: dict[Id, list[Marked]] = {image: [] for image in images}
    for line, told in found["annotations"]:
        where = f"{place}:{line} (annotation {str(told.get('id'))[:20]})"
        image, category, box = (told.get(name) for name in ("image_id", "category_id", "bbox"))
        if not isinstance(box, list):
            findings.append(unread(where, "no bbox [x, y, w, h]", "add it"))
        elif image is None or not _is_id(image) or image not in images:
            lacking = f"image_id {str(image)[:40]} is none of the images"
            findings.append(Finding(ERROR, "image", where, lacking, "add the image"))
        elif not _is_id(category) or category not in categories:
            unknown = f"category_id {str(category)[:40]} is none of the categories"
            findings.append(Finding(ERROR, "class", where, unknown, "add the category"))
        else:
            x, y, w, h = four(box)
            corners = (x, y, x + w - 1, y + h - 1)
            crowd = told.get("iscrowd") in (1, True)
            marked = Marked(categories[category], corners, where, crowd=crowd)
            boxes[image].append(marked)
    return boxes
