"""The classes' names, as ``classes.txt`` has them, a line each, and their folders."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Optional

from caffetools.cli import ToolError
from caffetools.dataset.entry import unlistable


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
    """The lines of a file of names; :class:`ToolError` where it is not UTF-8.

    They end where Caffe's lists end theirs: a name may hold what ``splitlines`` takes for an end.
    """
    try:
        # Editors on Windows begin a file with a byte order mark.
        lines = path.read_text(encoding="utf-8-sig").split("\n")
        return lines if lines[-1] else lines[:-1]
    except UnicodeDecodeError as error:
        raise ToolError(f"{path}: expected names in UTF-8 ({error}); save it as UTF-8") from error


def class_folders(names: Optional[Path], labels: Collection[int]) -> dict[int, str]:
    """A folder's name for each label: its line of the file ``names``, or its number.

    Raises :class:`ToolError` where there are too few lines, or one cannot be a folder's name.
    """
    lines = None if names is None else [line.strip() for line in read_names(names)]
    return folder_names(lines, labels, str(names))


def folder_names(
    names: Optional[Sequence[str]], labels: Collection[int], place: str
) -> dict[int, str]:
    """The same of a list of names, which stand in ``place``."""
    if names is None:
        width = len(str(max(labels)))
        return {label: f"{label:0{width}d}" for label in labels}
    if max(labels) >= len(names):
        raise ToolError(
            f"{place}: expected a line for each label up to {max(labels)}, found {len(names)}"
        )
    chosen = {label: names[label] for label in labels}
    for label, name in chosen.items():
        if not name or name.startswith(".") or "/" in name or unlistable(name):
            raise ToolError(
                f"{place}:{label + 1}: {name!r} cannot be the name of a class folder; leave out "
                "'/', line breaks, and a '.' at its beginning"
            )
    twice = [name for name, count in Counter(chosen.values()).items() if count > 1]
    if twice:
        raise ToolError(f"{place}: {twice[0]!r} stands there twice; expected a name for each class")
    return chosen
