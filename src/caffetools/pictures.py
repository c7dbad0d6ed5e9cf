"""The files that pictures are written to, told without matplotlib, which not every machine has."""

from __future__ import annotations

from pathlib import Path

from caffetools.cli import ToolError

FORMATS = (".png", ".svg")


def picture_format(path: Path) -> str:
    """``png`` or ``svg``, by the file's name; raises :class:`ToolError` for any other name."""
    ending = path.suffix.lower()
    if ending not in FORMATS:
        raise ToolError(f"{path}: expected a file named {' or '.join(FORMATS)} to draw into")
    return ending[1:]
