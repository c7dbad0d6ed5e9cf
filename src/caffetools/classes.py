"""The classes' names, as ``classes.txt`` has them, a line each."""

from __future__ import annotations

from pathlib import Path
from typing import Optional

from caffetools.cli import ToolError


def class_names(path: Optional[Path], count: int) -> list[str]:
    """The lines of ``classes.txt``, or the labels themselves where there is none."""
    if path is None:
        return [str(label) for label in range(count)]
    names = read_names(path)
    if len(names) != count:
        raise ToolError(
            f"{path}: expected {count} classes, as many as the net has scores, found {len(names)}; "
            "give the list of the data set that the net was trained on"
        )
    return names


def read_names(path: Path) -> list[str]:
    """The lines of a file of names; :class:`ToolError` where it is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ToolError(f"{path}: expected names in UTF-8 ({error}); save it as UTF-8") from error
