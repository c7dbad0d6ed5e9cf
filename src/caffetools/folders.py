"""Guards on folders: what may be replaced, and what lies inside."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from caffetools.cli import ToolError


def refuse_foreign(folder: Path, own: Callable[[str], bool]) -> None:
    """Raise :class:`ToolError` if ``folder`` holds an entry that the command did not write.

    A command that replaces a folder as a whole asks this first, so that a mistyped
    ``--output`` deletes nothing of the user's.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ToolError(f"{folder}: expected a folder to write to, found a file")
    foreign = sorted(entry.name for entry in folder.iterdir() if not own(entry.name))
    if foreign:
        raise ToolError(
            f"{folder}: will not be replaced, since it holds {foreign[0]!r}, which this command "
            "does not write; name a new folder as --output or empty this one yourself"
        )


def lies_inside(path: Path, folder: Path) -> bool:
    """Whether ``path`` is in ``folder`` once all links are followed (loops are not)."""
    real, root = os.path.realpath(path), os.path.realpath(folder)
    return os.path.commonpath([real, root]) == root
