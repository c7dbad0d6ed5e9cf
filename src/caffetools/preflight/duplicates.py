"""Whether images lie in more than one split, as ``duplicates.csv`` of the data set names them."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path

from caffetools.cli import ToolError
from caffetools.dataset.duplicates import HEADER
from caffetools.preflight.finding import WARNING, Finding
from caffetools.preflight.records import some

Row = Mapping[str, str]


def read(path: Path) -> list[Row]:
    """The rows of a ``duplicates.csv``. Raises :class:`ToolError` where it is none."""
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            reader = csv.DictReader(stream)
            rows: list[Row] = list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise ToolError(f"{path}: cannot be read as a table: {error}") from error
    if tuple(reader.fieldnames or ()) != HEADER or any(None in row.values() for row in rows):
        raise ToolError(f"{path}: expected the columns {', '.join(HEADER)}, found others")
    return rows


def duplicates(rows: list[Row], place: str) -> Iterator[Finding]:
    """Images of val and test that lie in an earlier split too, and those of two classes."""
    crossing = [row for row in rows if row["split"] != row["other_split"]]
    if crossing:
        exact = {_image(row) for row in crossing if row["kind"] == "exact"}
        near = {_image(row) for row in crossing} - exact
        yield Finding(
            WARNING, "duplicates", place,
            f"images of val and test that lie in an earlier split too: {len(exact)} byte for byte, "
            f"{len(near)} as the same picture stored again; {_some(crossing)}; so the net looks "
            "better than it is",
            "take them out of one of the splits, or keep copies together by split.group",
        )  # fmt: skip
    contrary = [row for row in rows if row["class"] != row["other_class"]]
    if contrary:
        count = len({_image(row) for row in contrary})
        yield Finding(
            WARNING, "duplicates", place,
            f"images that are of another class elsewhere: {count}; {_some(contrary)}",
            "leave each of them in its own class alone",
        )  # fmt: skip


def _image(row: Row) -> tuple[str, str]:
    return row["split"], row["path"]


def _some(rows: list[Row]) -> str:
    return some(
        [
            f"{row['path']!r} ({row['split']}, {row['class']}) is {row['other_path']!r} "
            f"({row['other_split']}, {row['other_class']})"
            for row in rows
        ],
        3,
    )
