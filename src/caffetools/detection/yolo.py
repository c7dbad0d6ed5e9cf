"""YOLO's annotations: a text file an image, with a line ``class cx cy w h`` a box.

Centre, width and height are shares of the image's width and height; ``class`` is a number from 0.
The labels of ``images/…/NAME.jpg`` stand in ``labels/…/NAME.txt``, or beside the image. Names of
the classes, and the splits, stand in ``data.yaml``; without it names are a line each in
``classes.txt`` or a file ``*.names``, and a folder called train, val or test tells the split.

Format: https://docs.ultralytics.com/datasets/detect/
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Optional

import yaml

from caffetools.classes import read_names
from caffetools.cli import ToolError
from caffetools.dataset.entry import SPLITS
from caffetools.detection.annotated import (
    Annotated,
    Annotations,
    Marked,
    UnreadableError,
    four,
    images_in,
    read_bytes,
    relative,
    sorted_images,
    split_called,
    unread,
)
from caffetools.preflight.finding import ERROR, WARNING, Finding

MAX_BYTES = 1 << 24  # of one file
MAX_YAML = 1 << 20
_NAMES = ("classes.txt", "obj.names", "labels/classes.txt")
_CLASS = re.compile("[0-9]{1,6}")


class _Plain(yaml.SafeLoader):
    """YAML without aliases, by which a short file can stand for a very long one."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("it has an alias")
        return super().compose_node(parent, index)


def read(source: Path, annotations: Optional[Path] = None) -> Annotations:
    """All annotations of a folder in YOLO's form; ``annotations`` is data.yaml or a file of names.

    Raises :class:`ToolError` where no names can be had, or there is no image.
    """
    file = annotations or _names_file(source)
    is_yaml = file.suffix in (".yaml", ".yml")
    told = _yaml(file) if is_yaml else {}
    names = _names(told, file) if is_yaml else dict(enumerate(map(str.strip, read_names(file))))
    images = images_in(source, source)
    if not images:
        raise ToolError(f"{source}: expected images with YOLO's labels, found no image")
    places = _split_places(told, source)
    findings: list[Finding] = []
    found, files, numbers = [], [file], set()
    for path in images:
        labels = _labels_of(source, path)
        split = _split(path, places)
        if labels is None:
            found.append(Annotated(path, split=split))
            continue
        files.append(labels)
        boxes, unknown = _boxes(labels, relative(labels, source), names, findings)
        numbers |= unknown
        source_of = relative(labels, source)
        found.append(Annotated(path, boxes, split, source=source_of, relative=True))
    used = {box.class_name for image in found for box in image.boxes}
    if max(numbers, default=-1) == len(names) and names.get(0) not in used:
        findings.append(_from_one(relative(file, source), len(names)))
    findings += _orphans(source, set(files), file)
    return Annotations(sorted_images(found), findings, files, sorted(set(names.values())))


def _from_one(place: str, count: int) -> Finding:
    found = f"classes are numbered up to {count} and none has 0, as if counted from 1"
    return Finding(ERROR, "classes", place, found, "expected numbers from 0; subtract 1")


def _names_file(source: Path) -> Path:
    candidates = [*sorted(source.glob("*.yaml")), *sorted(source.glob("*.yml"))]
    candidates = [path for path in candidates if path.is_file() and "names" in _yaml(path)]
    candidates += [source / name for name in _NAMES if (source / name).is_file()]
    candidates += sorted(path for path in source.glob("*.names") if path.is_file())
    if not candidates:
        raise ToolError(
            f"{source}: expected the classes' names in data.yaml or classes.txt, found neither; "
            "name the file by --annotations"
        )
    return candidates[0]


def _yaml(path: Path) -> dict[str, Any]:
    try:
        told = yaml.load(read_bytes(path, MAX_YAML), _Plain)
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ToolError(f"{path}: cannot be read as YAML without aliases: {reason}") from error
    if not isinstance(told, dict):
        raise ToolError(f"{path}: expected keys such as names, train and val, found none")
    return told


def _names(told: Mapping[str, Any], path: Path) -> dict[int, str]:
    """The classes by their numbers."""
    names = told.get("names")
    by_number = dict(enumerate(names)) if isinstance(names, list) else names
    if not isinstance(by_number, dict) or not by_number:
        raise ToolError(f"{path}: expected the list or the mapping 'names', found none")
    for number, name in by_number.items():
        if not isinstance(number, int) or not isinstance(name, (str, int, float)):
            raise ToolError(f"{path}: expected a name for each number under 'names'")
    return {number: str(name).strip() for number, name in by_number.items()}


def _split_places(told: Mapping[str, Any], source: Path) -> dict[str, str]:
    """The split of each folder, or each image, that data.yaml tells, relative to the source."""
    base = told.get("path")
    places: dict[str, str] = {}
    for split in reversed(SPLITS):
        listed = told.get(split, told.get("valid") if split == "val" else None)
        for one in listed if isinstance(listed, list) else [listed]:
            if not isinstance(one, str):
                continue
            for line in _listed(source, one):
                places[_inside(line, base if isinstance(base, str) else "", source)] = split
    return places


def _listed(source: Path, one: str) -> Sequence[str]:
    """The images of a list, where data.yaml names one; else the folder it names."""
    pure = PurePosixPath(one)
    if pure.suffix != ".txt" or ".." in pure.parts or not (source / pure).is_file():
        return [one]
    text = read_bytes(source / pure, 1 << 28).decode("utf-8", "surrogateescape")
    return [line.strip() for line in text.split("\n") if line.strip()]


def _inside(told: str, base: str, source: Path) -> str:
    """A path of data.yaml as one in the source folder, whatever it begins with.

    It tells nothing but a split, so that one which leads elsewhere is of no image.
    """
    for root in (str(source.resolve()), str(source), base):
        if root and told.startswith(f"{root.rstrip('/')}/"):
            told = told[len(root.rstrip("/")) :]
    parts = [part for part in PurePosixPath(told).parts if part not in ("/", "..", ".")]
    return "/".join(parts)


def _split(path: str, places: Mapping[str, str]) -> str:
    """The split of an image by what data.yaml tells, or by the names of its folders."""
    if places:
        pure = PurePosixPath(path)
        for one in (pure, *pure.parents):
            if str(one) in places:
                return places[str(one)]
        return ""
    folders = [split_called(part) for part in PurePosixPath(path).parts[:-1]]
    return next((split for split in reversed(folders) if split), "")


def _labels_of(source: Path, path: str) -> Optional[Path]:
    """The file of an image's labels, if there is one."""
    pure = PurePosixPath(path).with_suffix(".txt")
    parts = list(pure.parts)
    folders = [number for number, part in enumerate(parts[:-1]) if part == "images"]
    if folders:
        parts[folders[-1]] = "labels"
    places = (source.joinpath(*parts), source / pure)
    return next((place for place in places if place.is_file()), None)


def _boxes(
    file: Path, place: str, names: Mapping[int, str], findings: list[Finding]
) -> tuple[list[Marked], set[int]]:
    """The boxes of one file, and the numbers that are no class'."""
    boxes: list[Marked] = []
    unknown: set[int] = set()
    try:
        text = read_bytes(file, MAX_BYTES).decode("utf-8-sig")
    except (UnreadableError, UnicodeDecodeError) as error:
        findings.append(unread(place, f"cannot be read: {error}", "mend or remove the file"))
        return boxes, unknown
    for number, line in enumerate(text.split("\n"), 1):
        where, words = f"{place}:{number}", line.split()
        if not words:
            continue
        if len(words) != 5 or not _CLASS.fullmatch(words[0]):
            found = f"expected 'class cx cy w h', found {line.strip()[:60]!r}"
            hint = "polygons need their boxes" if len(words) > 6 else "mend the line"
            findings.append(unread(where, found, hint))
            continue
        label = int(words[0])
        if label not in names:
            unknown.add(label)
            found = f"the class {label} is none of the {len(names)} that have a name"
            findings.append(Finding(ERROR, "class", where, found, "name it, or mend the number"))
            continue
        cx, cy, w, h = four(words[1:])
        corners = (cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2)
        boxes.append(Marked(names[label], corners, where))
    return boxes, unknown


def _orphans(source: Path, files: set[Path], names: Path) -> list[Finding]:
    """Labels of no image."""
    found = []
    for path in sorted(source.rglob("labels/**/*.txt")):
        if path not in files and path.name not in ("classes.txt", names.name):
            lacking = "these labels are of no image"
            fix = "add the image, or remove the file"
            found.append(Finding(WARNING, "image", relative(path, source), lacking, fix))
    return found
