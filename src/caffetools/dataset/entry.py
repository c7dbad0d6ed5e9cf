"""One image of a data set."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

SPLITS = ("train", "val", "test")
HEADER = ("path", "label", "class", "split", "group", "sha256", "bytes", "dropped")


class Entry(NamedTuple):
    """One image found, a row of the manifest.

    Attributes:
        path: relative to the source folder.
        label: the class' number, from 0.
        class_name: the class' name.
        split: one of :data:`SPLITS`, or empty.
        group: images of one group lie in one split; empty where there are no groups.
        sha256: of the file.
        bytes: the file's size.
        dropped: why the image is left out; empty if it is not.
    """

    path: str
    label: int
    class_name: str
    split: str = ""
    group: str = ""
    sha256: str = ""
    bytes: int = 0
    dropped: str = ""


def rows(entries: Iterable[Entry]) -> Iterator[tuple[Any, ...]]:
    """A row of :data:`HEADER` for each entry."""
    for entry in entries:
        # A name that is not UTF-8 is shown by its bytes: it is only ever a dropped one. What the
        # group is called may be a part of it.
        yield tuple(
            value.encode("utf-8", "backslashreplace").decode("utf-8")
            if isinstance(value, str)
            else value
            for value in entry
        )


def unlistable(name: str) -> str:
    """Why ``name`` cannot stand in a list file of Caffe's, or be a file's, or nothing."""
    if "\0" in name:
        return "has a NUL in its name"
    if "\n" in name or "\r" in name:
        return "has a line break in its name"
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return "has a name that is not UTF-8"
    return ""
