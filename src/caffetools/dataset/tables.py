"""Images named by Caffe's lists, or by a table with a header.

A list has a line ``path label`` an image. A table is a CSV with the columns ``path`` and
``label`` or ``class``, or both, and perhaps ``split`` and ``group``.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Optional

from caffetools.classes import read_names
from caffetools.cli import ToolError
from caffetools.dataset.entry import SPLITS, Entry, unlistable
from caffetools.lists import read_list

_WORDS = ("label", "class", "split", "group")  # columns in which spaces about a word tell nothing
LABELS = 1_000_000  # more classes than any net has; a greater label is a mistake


def from_lists(lists: Mapping[str, Path], names: Optional[Path]) -> tuple[list[Entry], list[str]]:
    """The images of lists by split (of one list without a split: ``""``), and the classes.

    Classes are named by the lines of the file ``names``, or by their numbers.
    """
    found = [
        Entry(path, label, "", split)
        for split, file in lists.items()
        for path, label in read_list(file)
    ]
    classes = _classes(found, names, next(iter(lists.values())))
    return [entry._replace(class_name=classes[entry.label]) for entry in found], classes


def _classes(entries: Sequence[Entry], names: Optional[Path], place: Path) -> list[str]:
    most = max(entry.label for entry in entries)
    if names is None:
        _check_label(most, place)
        return [str(label) for label in range(most + 1)]
    classes = [line.strip() for line in read_names(names)]
    if most >= len(classes):
        first = next(entry for entry in entries if entry.label == most)
        raise ToolError(
            f"{place}: {first.path!r} has the label {most}, and {names} names {len(classes)} "
            "classes, counted from 0; give a line for each class"
        )
    _check_names(classes, names)
    return classes


def _check_label(label: int, place: object) -> None:
    if not 0 <= label < LABELS:
        raise ToolError(f"{place}: expected labels from 0 to {LABELS - 1}, found {label}")


def _check_names(classes: Sequence[str], place: object) -> None:
    seen: dict[str, int] = {}
    for label, name in enumerate(classes):
        if not name:
            raise ToolError(f"{place}: the class with the label {label} has no name; give it one")
        if reason := unlistable(name):
            raise ToolError(f"{place}: the class {name!r} {reason}; expected a name in one line")
        if name in seen:
            raise ToolError(
                f"{place}: {name!r} is the name of the labels {seen[name]} and {label}; expected "
                "a name of its own for each class"
            )
        seen[name] = label


def from_table(path: Path, names: Optional[Path]) -> tuple[list[Entry], list[str]]:
    """The images of a table, and the classes: by label, or where there is none by name.

    A table that tells the same split of all images tells none.
    """
    records = list(_records(path))
    if not records:
        raise ToolError(f"{path}: expected a row an image, found none")
    if len({record.get("split") for _, record in records}) == 1:
        for _, record in records:
            record.pop("split", None)
    if "label" in records[0][1]:
        entries = [_labelled(record, place) for place, record in records]
        classes = _told_classes(entries, path) if names is None else _classes(entries, names, path)
        return [entry._replace(class_name=classes[entry.label]) for entry in entries], classes
    told = {record["class"] for _, record in records}
    classes = sorted(told) if names is None else [line.strip() for line in read_names(names)]
    _check_names(classes, names or path)
    labels = {name: label for label, name in enumerate(classes)}
    for place, record in records:
        if record["class"] not in labels:
            raise ToolError(f"{place}: the class {record['class']!r} is not among those of {names}")
    return [_entry(r, labels[r["class"]], place) for place, r in records], classes


def _records(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Each row of the table with its place."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream)
            found = reader.fieldnames or []
            if "path" not in found or not {"label", "class"} & set(found):
                raise ToolError(
                    f"{path}: expected the columns 'path' and 'label' or 'class', found "
                    f"{', '.join(map(repr, found)) or 'no header'}"
                )
            for record in reader:
                place = f"{path}:{reader.line_num}"
                if None in record or None in record.values():
                    raise ToolError(f"{place}: expected {len(found)} fields, found more or fewer")
                told = {name: record[name].strip() for name in _WORDS if name in record}
                yield place, {**record, **told}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ToolError(f"{path}: cannot be read as a table: {error}") from error


def _labelled(record: Mapping[str, str], place: str) -> Entry:
    text = record["label"]
    if not re.fullmatch("[0-9]{1,18}", text):
        raise ToolError(f"{place}: expected a whole number as label, found {text[:40]!r}")
    _check_label(int(text), place)
    return _entry(record, int(text), place)


def _entry(record: Mapping[str, str], label: int, place: str) -> Entry:
    split = record.get("split", "")
    if split not in (*SPLITS, ""):
        raise ToolError(f"{place}: expected {', '.join(SPLITS)} or no split, found {split!r}")
    if not record["path"]:
        raise ToolError(f"{place}: expected a path, found none")
    return Entry(record["path"], label, record.get("class", ""), split, record.get("group", ""))


def _told_classes(entries: Sequence[Entry], path: Path) -> list[str]:
    """Each label's name in the column ``class``, or its number where there is none."""
    told: dict[int, str] = {}
    for entry in entries:
        name = entry.class_name or str(entry.label)
        if told.setdefault(entry.label, name) != name:
            raise ToolError(
                f"{path}: the label {entry.label} is the class {told[entry.label]!r} in one row "
                f"and {name!r} in another ({entry.path!r}); expected one name for each label"
            )
    classes = [told.get(label, str(label)) for label in range(max(told) + 1)]
    _check_names(classes, path)
    return classes
