"""Boxes in a table: a CSV with the columns ``path,class,x1,y1,x2,y2``, a row a box.

Further columns are ``split``, ``group``, ``difficult`` (1 or 0) and any others, which tell nothing.
Paths are relative to the source folder. Corners are pixels counted from 0, both within the box, or
from 1 with ``first_pixel=1``. A row whose class and corners are empty is an image without boxes.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Optional

from caffetools.cli import ToolError
from caffetools.detection.annotated import (
    Annotated,
    Annotations,
    Marked,
    check_split,
    four,
    read_bytes,
    relative,
    sorted_images,
)

MAX_BYTES = 1 << 30
CORNERS = ("x1", "y1", "x2", "y2")
COLUMNS = ("path", "class", *CORNERS)


def read(source: Path, annotations: Optional[Path] = None, first_pixel: int = 0) -> Annotations:
    """All boxes of a table: the one named, or the only CSV in the source folder.

    Raises :class:`ToolError` with the line where it is no such table.
    """
    file = annotations or _file(source)
    place = relative(file, source)
    boxes: dict[str, list[Marked]] = {}
    told: dict[str, tuple[str, str]] = {}
    for line, row in _rows(file):
        where = f"{place}:{line}"
        if not row["path"]:
            raise ToolError(f"{where}: expected a path, found none")
        path = str(PurePosixPath(row["path"]))
        split = check_split(row.get("split", ""), where)
        image = (split, row.get("group", ""))
        if told.setdefault(path, image) != image:
            raise ToolError(
                f"{where}: {path!r} has split and group {told[path]} in one row and {image} in "
                "this; expected one of each for an image"
            )
        marks = boxes.setdefault(path, [])
        if any(row[name] for name in COLUMNS[1:]):
            x1, y1, x2, y2 = (value - first_pixel for value in four([row[c] for c in CORNERS]))
            difficult = row.get("difficult", "") == "1"
            marks.append(Marked(row["class"], (x1, y1, x2, y2), where, difficult))
    images = (Annotated(path, marks, *told[path], source=place) for path, marks in boxes.items())
    return Annotations(sorted_images(images), [], [file])


def _file(source: Path) -> Path:
    found = sorted(source.glob("*.csv"))
    if len(found) != 1:
        raise ToolError(
            f"{source}: expected one table of boxes, a CSV, found {len(found)}; name it by "
            "--annotations"
        )
    return found[0]


def _rows(path: Path) -> Iterator[tuple[int, Mapping[str, str]]]:
    """Each row with its line, without spaces about its words."""
    try:
        text = read_bytes(path, MAX_BYTES).decode("utf-8-sig")
        reader = csv.DictReader(io.StringIO(text, newline=""))
        found = reader.fieldnames or []
        if missing := [name for name in COLUMNS if name not in found]:
            raise ToolError(
                f"{path}:1: expected the columns {','.join(COLUMNS)}, found no {missing[0]!r}"
            )
        for row in reader:
            if None in row or None in row.values():
                raise ToolError(
                    f"{path}:{reader.line_num}: expected {len(found)} fields, found more or fewer"
                )
            yield reader.line_num, {name: value.strip() for name, value in row.items()}
    except (UnicodeDecodeError, csv.Error) as error:
        raise ToolError(f"{path}: cannot be read as a table: {error}") from error
