"""Whether images can be used, and what is known of those that can."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Optional

import cv2
import numpy as np

from caffetools.ahead import ahead
from caffetools.dataset.entry import Entry, unlistable
from caffetools.files import sha256
from caffetools.folders import lies_inside
from caffetools.images import MAX_PIXELS, read_checked

SIDE = 16  # pixels of a thumbnail

Examined = tuple[Entry, Optional[np.ndarray]]


def examine_all(
    source: Path, entries: Sequence[Entry], max_pixels: int = MAX_PIXELS
) -> tuple[list[Entry], np.ndarray]:
    """Every entry examined, and the thumbnails ``(N, 256)`` of those that can be used, in order."""
    examined, thumbnails = [], []
    for entry, small in ahead(lambda one: examine(source, one, max_pixels), entries):
        examined.append(entry)
        if small is not None:
            thumbnails.append(small)
    return examined, np.array(thumbnails, np.uint8).reshape(-1, SIDE * SIDE)


def examine(source: Path, entry: Entry, max_pixels: int = MAX_PIXELS) -> Examined:
    """``entry`` with the file's digest and size and a thumbnail, or with the reason to drop it."""
    known, image = opened(source, entry, max_pixels)
    return known, None if image is None else thumbnail(image)


def opened(source: Path, entry: Entry, max_pixels: int = MAX_PIXELS) -> Examined:
    """The same with the image itself, as :func:`caffetools.images.read_image` reads it."""
    path = source / entry.path
    if reason := unlistable(entry.path):
        return entry._replace(dropped=reason), None
    if not lies_inside(path, source):
        return entry._replace(dropped="leads out of the source folder"), None
    try:
        if not path.is_file():
            is_there = path.exists() or path.is_symlink()
            found = "is not a regular file" if is_there else "is not there"
            return entry._replace(dropped=found), None
        known = entry._replace(sha256=sha256(path), bytes=path.stat().st_size)
    except OSError as error:
        return entry._replace(dropped=f"cannot be opened: {error.strerror}"), None
    if not known.bytes:
        return known._replace(dropped="is empty"), None
    image, reason = read_checked(path, max_pixels=max_pixels)
    if image is None:
        return known._replace(dropped=reason), None
    return known, image


def thumbnail(image: np.ndarray) -> np.ndarray:
    """A BGR image as ``(256,)`` gray values of 16 x 16 fields, each the mean of what it covers."""
    gray = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    return cv2.resize(gray, (SIDE, SIDE), interpolation=cv2.INTER_AREA).ravel()
