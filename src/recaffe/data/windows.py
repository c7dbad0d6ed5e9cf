"""Windows of images, drawn by how far they overlap with objects, as R-CNN trains on."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from recaffe.errors import DataError


class Window(NamedTuple):
    """A rectangle of an image, both corners included, and the class of what it shows."""

    image: int
    label: int
    x1: int
    y1: int
    x2: int
    y2: int


@dataclass
class WindowFile:
    """What a window file lists.

    Attributes:
        images: their paths, by their index.
        channels: of the last image, which Caffe takes for all.
        foreground, background: windows that overlap with an object enough, and little enough.
    """

    images: list[str]
    channels: int
    foreground: list[Window]
    background: list[Window]


class _Words:
    """The words of a file, one after the other."""

    def __init__(self, source: str) -> None:
        self._source = source
        try:
            text = Path(source).read_bytes().decode(errors="surrogateescape")
        except OSError as error:
            raise DataError(
                f"{source}: cannot read the window file: {error.strerror}; paths in a prototxt "
                "are relative to the working directory"
            ) from None
        self._words = self._numbered(text)
        self.line = 0

    @staticmethod
    def _numbered(text: str) -> Iterator[tuple[int, str]]:
        for number, line in enumerate(text.split("\n"), 1):
            for word in line.split():
                yield number, word

    def next(self, what: str) -> str:
        self.line, word = next(self._words, (self.line, ""))
        if not word:
            raise self.error(f"expected {what}, found the end of the file")
        return word

    def maybe(self) -> str:
        """The next word, or none at the end."""
        self.line, word = next(self._words, (self.line, ""))
        return word

    def integer(self, what: str) -> int:
        return int(self._number(what, int))

    def real(self, what: str) -> float:
        return float(self._number(what, float))

    def _number(self, what: str, kind: type[int] | type[float]) -> float:
        word = self.next(what)
        try:
            return kind(word)
        except ValueError:
            raise self.error(f"expected {what}, found {word!r}") from None

    def error(self, message: str) -> DataError:
        return DataError(f"{self._source}:{self.line}: {message}")


def read_window_file(source: str, root: str, foreground: float, background: float) -> WindowFile:
    """Read a window file: for each image ::

        # index
        path
        channels
        height
        width
        number of windows
        class overlap x1 y1 x2 y2       (a line for each window)

    A window whose overlap is at least ``foreground`` shows its class, which is not 0; one whose
    overlap is below ``background`` shows class 0, the background; others count for nothing.

    Raises:
        DataError: no such file, one that is not of this form, or without either kind.
    """
    words = _Words(source)
    found = WindowFile([], 0, [], [])
    while hashtag := words.maybe():
        index = words.integer("the image's index")
        if hashtag != "#" or index != len(found.images):
            raise words.error(
                f"expected '# {len(found.images)}', the next image, found '{hashtag} {index}'"
            )
        found.images.append(root + words.next("the image's path"))
        found.channels, _, _ = (words.integer(size) for size in ("channels", "height", "width"))
        for _ in range(words.integer("the number of windows")):
            label = words.integer("a window's class")
            overlap = np.float32(words.real("a window's overlap"))
            window = Window(index, label, *(words.integer(side) for side in Window._fields[2:]))
            if overlap >= np.float32(foreground):
                if label < 1:
                    raise words.error(
                        f"a window that overlaps by {overlap:g} shows an object, so its class is "
                        f"at least 1; found {label}"
                    )
                found.foreground.append(window)
            elif overlap < np.float32(background):
                found.background.append(window._replace(label=0))
    for name, windows in (("foreground", found.foreground), ("background", found.background)):
        if not windows:
            raise DataError(f"{source}: no {name} window; see fg_threshold and bg_threshold")
    return found


@dataclass(frozen=True)
class Cropper:
    """Cuts a window out of an image and warps it to a square.

    Args:
        size: the square's side.
        context: how many of its pixels on each side show what is around the window.
        square: make the window a square first, of its longer side.
    """

    size: int
    context: int
    square: bool

    def crop(self, image: np.ndarray, window: Window, mirror: bool) -> tuple[np.ndarray, int, int]:
        """The warped window ``(H, W, C)``, and its first row and column in the square.

        What lies outside the image is left out, so the warped window may be smaller.

        Source: ``WindowDataLayer::load_batch``.
        """
        x1, y1, x2, y2 = window[2:]
        height, width = self.size, self.size
        row = column = 0
        if self.context or self.square:
            (y1, y2, row, height, _), (x1, x2, left, width, right) = self._expanded(
                (x1, y1, x2, y2), image.shape[:2]
            )
            column = right if mirror else left
            height = min(height, self.size - row)
            width = min(width, self.size - column)
        if not (0 <= x1 <= x2 < image.shape[1] and 0 <= y1 <= y2 < image.shape[0]):
            raise DataError(f"the window {window[2:]} is not within the image {image.shape[:2]}")
        if height < 1 or width < 1:
            raise DataError(f"nothing of the window {window[2:]} is left once it is warped")
        warped = cv2.resize(image[y1 : y2 + 1, x1 : x2 + 1], (width, height))
        return (warped[:, ::-1] if mirror else warped), row, column

    def _expanded(
        self, corners: tuple[int, int, int, int], sizes: tuple[int, ...]
    ) -> tuple[tuple[int, int, int, int, int], ...]:
        """The window with its context, clipped: vertically, then horizontally."""
        x1, y1, x2, y2 = corners
        # In float32, as Caffe's nets compute.
        scale = np.float32(self.size) / np.float32(self.size - 2 * self.context)
        halves = [np.float32((y2 - y1 + 1) / 2), np.float32((x2 - x1 + 1) / 2)]
        centres = [np.float32(first) + half for first, half in zip((y1, x1), halves, strict=True)]
        if self.square:
            halves = [max(halves)] * 2
        return tuple(
            self._clipped(_round(centre - half * scale), _round(centre + half * scale), length)
            for centre, half, length in zip(centres, halves, sizes, strict=True)
        )

    def _clipped(self, first: int, last: int, length: int) -> tuple[int, int, int, int, int]:
        """First, last, warped padding before, warped length, warped padding after."""
        before, after = max(0, -first), max(0, last - length + 1)
        scale = np.float32(self.size) / np.float32(last - first + 1)
        first, last = first + before, last - after
        left, inside, right = (
            _round(np.float32(n) * scale) for n in (before, last - first + 1, after)
        )
        return first, last, left, inside, right


def _round(value: np.float32) -> int:
    """To the nearest integer, halves away from zero, as C rounds."""
    return int(math.copysign(math.floor(abs(float(value)) + 0.5), value))
