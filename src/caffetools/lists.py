"""Caffe's lists of images, a line ``path label`` each, or ``path label1 ... labelK``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from caffetools.cli import ToolError


class Listed(NamedTuple):
    """One line of a list: the image's path relative to the root, and its label."""

    path: str
    label: int


class Vector(NamedTuple):
    """One line of a list with several labels: the image's path, and they as they are told."""

    path: str
    told: str

    @property
    def labels(self) -> np.ndarray:
        """They as float32."""
        with np.errstate(over="ignore"):
            return np.array(self.told.split(" "), np.float64).astype(np.float32)


def read_list(path: Path) -> list[Listed]:
    """The lines of a Caffe list, ``relative/path label``; a path may hold spaces.

    Raises :class:`ToolError`, naming the line, if one does not have this form.
    """
    return [_parse_line(line, place) for place, line in _lines(path)]


def read_vectors(path: Path, count: int) -> list[Vector]:
    """The lines of a list with ``count`` labels each, whole numbers or not, parted by spaces.

    Raises :class:`ToolError`, naming the line, if one does not have this form.
    """
    return [_parse_vector(line, place, count) for place, line in _lines(path)]


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    """Each line, with its place."""
    if not path.is_file():
        raise ToolError(f"{path}: no such file; the dataset command writes such lists")
    try:
        # Editors on Windows begin a file with a byte order mark.
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ToolError(f"{path}: expected UTF-8, found {error}") from error
    lines = text.split("\n")
    if not lines[-1]:
        lines.pop()
    if not lines:
        raise ToolError(f"{path}: expected a line 'path label' an image, found none")
    for number, line in enumerate(lines, 1):
        yield f"{path}:{number}", line


def _parse_line(line: str, place: str) -> Listed:
    match = re.fullmatch(r"([^\0]+) ([0-9]{1,9})\r?", line)
    if match is None:
        raise ToolError(f"{place}: expected 'path label', label a whole number; found {line!r}")
    return Listed(match.group(1), int(match.group(2)))


_NUMBER = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?", re.ASCII)


def _parse_vector(line: str, place: str, count: int) -> Vector:
    """A line ``path label1 ... labelK``. What could be a label is none of the path's."""
    words = line.rstrip("\r").split(" ")
    end = len(words)
    while end > 1 and _NUMBER.fullmatch(words[end - 1]):
        end -= 1
    path, told = " ".join(words[:end]), words[end:]
    if len(told) != count or not path or "\0" in path:
        raise ToolError(
            f"{place}: expected a path and {count} numbers as labels, parted by single spaces; "
            f"found {len(told)} numbers at the end of {line[-200:]!r}"
        )
    vector = Vector(path, " ".join(told))
    beyond = ~np.isfinite(vector.labels)
    if beyond.any():
        found = told[int(np.argmax(beyond))][:50]
        raise ToolError(f"{place}: the label {found} is beyond what float32 holds (3.4e38)")
    return vector
