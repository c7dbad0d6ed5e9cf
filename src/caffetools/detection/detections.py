"""Detections: boxes that a net found, as a table.

``detections.csv`` has the columns ``path,class,score,x1,y1,x2,y2``, one row a detection: the
image's path as in the manifest, the class' name, its probability, and the corners in pixels of the
image, counted from 0; both corners belong to the box.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from caffetools.cli import ToolError
from caffetools.detection.manifest import Corners
from caffetools.files import write_csv

HEADER = ("path", "class", "score", "x1", "y1", "x2", "y2")


class Detection(NamedTuple):
    """One box that a net found in an image."""

    path: str
    class_name: str
    score: float
    corners: Corners


def write(path: Path, detections: Iterable[Detection]) -> None:
    """Write the table, whole or not at all; scores with 6 and corners with 2 decimals."""
    rows = (
        [found.path, found.class_name, f"{found.score:.6f}", *map("{:.2f}".format, found.corners)]
        for found in detections
    )
    write_csv(path, HEADER, rows)


def read(path: Path) -> list[Detection]:
    """The detections of a table, in its order.

    Raises :class:`ToolError` with the line where it is none.
    """
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            return list(_detections(path, csv.reader(stream)))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ToolError(f"{path}: cannot be read as a table of detections: {error}") from error


def _detections(path: Path, rows: Iterator[list[str]]) -> Iterator[Detection]:
    header = next(rows, [])
    if tuple(header) != HEADER:
        raise ToolError(
            f"{path}:1: expected the columns {','.join(HEADER)}, found {','.join(header)}"
        )
    for number, row in enumerate(rows, 2):
        try:
            name, class_name, score, *corners = row
            x1, y1, x2, y2 = map(float, corners)
            yield Detection(name, class_name, float(score), (x1, y1, x2, y2))
        except ValueError:
            raise ToolError(
                f"{path}:{number}: expected {','.join(HEADER)}, found {','.join(row)}"
            ) from None
