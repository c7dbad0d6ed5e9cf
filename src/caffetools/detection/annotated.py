"""Annotations as their files tell them, before anyone has looked at an image."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple, Optional

from caffetools.cli import ToolError
from caffetools.dataset.entry import SPLITS
from caffetools.detection.manifest import Corners
from caffetools.images import EXTENSIONS
from caffetools.preflight.finding import ERROR, Finding

_NUMBER = re.compile(r"[-+]?([0-9]{1,30}\.?[0-9]{0,30}|\.[0-9]{1,30})([eE][-+]?[0-9]{1,3})?")
_SPLIT = re.compile(r"(?<![a-z])(trainval|train|validation|valid|val|test)(?![a-z])")
_CALLED = {"trainval": "train", "valid": "val", "validation": "val"}


class Marked(NamedTuple):
    """One box of an annotation.

    Attributes:
        class_name: as it is told.
        corners: ``x1, y1, x2, y2`` counted from 0, both within the box; or, of relative ones, the
            box' edges as shares of the image's width and height.
        place: the file and line.
    """

    class_name: str
    corners: Corners
    place: str
    difficult: bool = False
    truncated: bool = False
    crowd: bool = False


class Annotated(NamedTuple):
    """One image as annotations know it.

    Attributes:
        path: relative to the source folder.
        boxes: all that could be read.
        split: train, val, test, or empty.
        group: images of one group lie in one split; empty where there are no groups.
        source: the file that the boxes stand in; empty where there is none.
        size: the image's width and height as the annotation tells them, if it does.
        relative: whether the boxes' corners are shares.
        dropped: why the image cannot be used, if that is known already.
    """

    path: str
    boxes: Sequence[Marked] = ()
    split: str = ""
    group: str = ""
    source: str = ""
    size: Optional[tuple[float, float]] = None
    relative: bool = False
    dropped: str = ""


class Annotations(NamedTuple):
    """What a format's reader found.

    Attributes:
        images: every image, by path.
        findings: what could not be read, and what does not fit together.
        files: the files of annotations that were read.
        names: all classes that the annotations name, with a box or without; None if they do not.
    """

    images: Sequence[Annotated]
    findings: Sequence[Finding]
    files: Sequence[Path]
    names: Optional[Sequence[str]] = None


class UnreadableError(ToolError):
    """A file of annotations cannot be read; ``place`` is where, and ``found`` why."""

    def __init__(self, place: str, found: str) -> None:
        super().__init__(f"{place}: {found}")
        self.place, self.found = place, found


def number(told: object) -> float:
    """A finite number, told as text or as JSON tells one; not a number (NaN) where it is none."""
    if isinstance(told, str):
        return float(told) if _NUMBER.fullmatch(told.strip()) else math.nan
    if isinstance(told, bool) or not isinstance(told, (int, float)):
        return math.nan
    return float(told) if math.isfinite(told) else math.nan


def four(told: Sequence[object]) -> Corners:
    """Four numbers, each as :func:`number` takes it; NaN of any other count."""
    values = [number(one) for one in told] if len(told) == 4 else [math.nan] * 4
    return values[0], values[1], values[2], values[3]


def read_bytes(path: Path, most: int) -> bytes:
    """A file's content; :class:`UnreadableError` where there is none, or over ``most`` bytes."""
    if path.exists() and not path.is_file():  # such as a pipe, which nobody may ever write to
        raise UnreadableError(str(path), "expected a file, found none that is regular")
    try:
        with path.open("rb") as stream:
            content = stream.read(most + 1)
    except OSError as error:
        raise UnreadableError(str(path), f"cannot be read: {error.strerror}") from error
    if len(content) > most:
        raise UnreadableError(
            str(path), f"expected at most {most} bytes of annotations, found more"
        )
    return content


def relative(path: Path, source: Path) -> str:
    """A file by its path in the source folder, or by its name where it lies elsewhere."""
    try:
        return path.relative_to(source).as_posix()
    except ValueError:
        return path.name


def images_in(folder: Path, source: Path) -> list[str]:
    """The images in a folder and those below, by their paths in the source folder, sorted.

    Hidden files and folders do not count.
    """
    found = []
    for path in folder.rglob("*"):
        parts = path.relative_to(folder).parts
        hidden = any(part.startswith(".") for part in parts)
        if path.suffix.lower() in EXTENSIONS and not hidden and path.is_file():
            found.append(relative(path, source))
    return sorted(found)


def split_called(name: str) -> str:
    """The split that a file's or folder's name tells, such as ``instances_train2017``, or none."""
    found = _SPLIT.findall(name.lower())
    if not found:
        return ""
    return _CALLED.get(found[-1], found[-1])


def check_split(told: str, place: str) -> str:
    """``told``, if it is a split or nothing."""
    if told not in (*SPLITS, ""):
        raise ToolError(f"{place}: expected {', '.join(SPLITS)} or no split, found {told[:40]!r}")
    return told


def outside(path: str) -> bool:
    """Whether a path that an annotation tells is none within the folder of images."""
    pure = PurePosixPath(path)
    return not path or pure.is_absolute() or ".." in pure.parts


def unread(place: str, found: str, fix: str) -> Finding:
    """That annotations, or a part of them, cannot be read."""
    return Finding(ERROR, "annotation", place, found, fix)


def sorted_images(images: Iterable[Annotated]) -> list[Annotated]:
    """By path; of one path, by the file that annotates it."""
    return sorted(images, key=lambda image: (image.path, image.source))
