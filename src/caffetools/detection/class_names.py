"""The classes of a detection data set, as a file of names tells them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from caffetools.classes import read_names
from caffetools.cli import ToolError
from caffetools.dataset.entry import unlistable
from caffetools.detection.manifest import BACKGROUND


def told_classes(path: Path) -> list[str]:
    """The classes of a file of names, with or without the background in its first line."""
    names = [line.strip() for line in read_names(path)]
    names = names[1:] if names[:1] == [BACKGROUND] else names
    for number, name in enumerate(names, 1):
        if not name or name == BACKGROUND or unlistable(name):
            raise ToolError(f"{path}: class {number} is {name[:40]!r}; expected a name")
    if not names or len(set(names)) < len(names):
        twice = [name for name, count in Counter(names).items() if count > 1]
        found = f"{twice[0]!r} twice" if twice else "none"
        raise ToolError(f"{path}: expected a class a line, found {found}")
    return names


def read_classes(path: Path) -> list[str]:
    """The names of a data set's ``classes.txt`` but the first, which is the background.

    The first of them is class 1. Raises :class:`ToolError` where that is not so, or a name comes
    twice.
    """
    names = read_names(path)
    if names[:1] != [BACKGROUND]:
        raise ToolError(
            f"{path}:1: expected {BACKGROUND}, found {names[0] if names else 'nothing'}; the first "
            "line is the background, so that the others are numbered as the net's outputs"
        )
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ToolError(f"{path}: {twice[0]!r} stands there twice; expected a name for each class")
    if len(names) == 1:
        raise ToolError(f"{path}: expected classes behind {BACKGROUND}, found none")
    return names[1:]
