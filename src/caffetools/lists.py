"""Caffe's lists of images, a line ``path label`` each."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from caffetools.cli import ToolError


class Listed(NamedTuple):
    """One line of a list: the image's path relative to the root, and its label."""

    path: str
    label: int


def read_list(path: Path) -> list[Listed]:
    """The lines of a Caffe list, ``relative/path label``; a path may hold spaces.

    Raises :class:`ToolError`, naming the line, if one does not have this form.
    """
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
    return [_parse_line(line, f"{path}:{number}") for number, line in enumerate(lines, 1)]


def _parse_line(line: str, place: str) -> Listed:
    match = re.fullmatch(r"([^\0]+) ([0-9]{1,9})\r?", line)
    if match is None:
        raise ToolError(f"{place}: expected 'path label', label a whole number; found {line!r}")
    return Listed(match.group(1), int(match.group(2)))
