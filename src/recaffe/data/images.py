"""Images in files, and lists of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from recaffe.data import datum
from recaffe.data.batches import Reading, Sample
from recaffe.data.order import turn_order
from recaffe.data.resume import natural
from recaffe.errors import DataError

_INTEGER = re.compile(r"\s*([+-]?\d+)")
_LABELS = range(-(2**31), 2**31)


def read_image(path: str, color: bool = True, size: tuple[int, int] | None = None) -> np.ndarray:
    """The image ``(C, H, W)``, BGR or gray, resized to ``size`` ``(height, width)`` if given.

    Source: ``ReadImageToCVMat`` in ``util/io.cpp``.

    Raises:
        DataError: no such file, or one that OpenCV does not read.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise DataError(
            f"{_shown(path)}: cannot read the image: {error.strerror}; paths are relative to "
            "root_folder, and without one to the working directory"
        ) from None
    image = datum.decode(content, _shown(path), color)
    if size:
        try:
            resized = cv2.resize(image.transpose(1, 2, 0), size[::-1])
        except (cv2.error, OverflowError):
            raise DataError(f"{_shown(path)}: cannot be resized to {size[0]}x{size[1]}") from None
        image = resized[np.newaxis] if resized.ndim == 2 else resized.transpose(2, 0, 1)
    return image


def _shown(path: str) -> str:
    """A path that may not be UTF-8, as it can be printed."""
    return path.encode(errors="surrogateescape").decode(errors="replace")


class Listed(NamedTuple):
    """A line of a list: an image's path as it stands there, and its label."""

    path: str
    label: int
    line: int


def read_list(source: str) -> list[Listed]:
    """The lines ``path label`` of a list; a path may hold spaces, the last one parts the label.

    A line without any space is a path whose label is the number it begins with, else 0.

    Raises:
        DataError: no such file, an empty one, or a label that is no integer.
    """
    try:
        # Paths are bytes; those that are not UTF-8 go through unchanged.
        text = Path(source).read_bytes().decode(errors="surrogateescape")
    except OSError as error:
        raise DataError(
            f"{source}: cannot read the list of images: {error.strerror}; paths in a prototxt are "
            "relative to the working directory"
        ) from None
    lines = text.split("\n")
    if not lines[-1]:
        lines.pop()
    if not lines:
        raise DataError(f"{source}: the list is empty; write a line 'path label' an image")
    return [_listed(line, number, source) for number, line in enumerate(lines, 1)]


def _listed(line: str, number: int, source: str) -> Listed:
    path, space, label = line.rpartition(" ")
    if not space:
        # Caffe reads the whole line as the label too.
        path, label = line, line if _INTEGER.match(line) else "0"
    found = _INTEGER.match(label)
    if not path or found is None or int(found[1]) not in _LABELS:
        raise DataError(f"{source}:{number}: expected 'path label', found {_shown(line)!r}")
    return Listed(path, int(found[1]), number)


class ListedImages:
    """The images of a list over and over.

    Args:
        source: the list, for errors.
        lines: its lines.
        root: what stands before each path, as it is.
        start: the line to begin with.
        color, size: see :func:`read_image`.
        seed: if given, of a new order of the lines each turn.
    """

    def __init__(
        self,
        source: str,
        lines: Sequence[Listed],
        root: str,
        start: int,
        color: bool,
        size: tuple[int, int] | None,
        seed: int | None,
    ) -> None:
        self._source, self._lines, self._root = source, lines, root
        self._start, self._color, self._size = start, color, size
        self._seed, self.step = seed, 1

    def start_at(self, position: int) -> Iterator[Reading]:
        """Readings from the ``position``-th on, without an end."""
        turn, start = divmod(self._start + position, len(self._lines))
        while True:
            for index in turn_order(len(self._lines), self._seed, turn)[start:]:
                yield partial(self._sample, self._lines[index])
            turn, start = turn + 1, 0

    def state(self) -> dict[str, Any]:
        """The line that came first, and the seed of the order."""
        seed = {} if self._seed is None else {"seed": self._seed}
        return {"start": self._start, **seed}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what :meth:`state` gave.

        Raises:
            DataError: no such state.
        """
        self._start = natural(state, "start")
        if self._seed is not None:
            self._seed = natural(state, "seed")

    def _sample(self, listed: Listed) -> Sample:
        place = f"{self._source}:{listed.line}"
        try:
            image = read_image(self._root + listed.path, self._color, self._size)
        except DataError as error:
            raise DataError(f"{place}: {error}") from None
        return Sample(image, listed.label, place)
