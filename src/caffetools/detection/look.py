"""Opening the images of annotations: whether they can be used, and how large they are."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, Optional

import numpy as np
from PIL import Image

from caffetools.dataset.entry import Entry
from caffetools.dataset.examine import opened, thumbnail
from caffetools.detection.annotated import Annotated, outside

ANY = "(any)"  # what an image is, which is split without regard to what is in it
_ORIENTATION = 0x0112  # the EXIF entry


class Look(NamedTuple):
    """What the image's file tells.

    Attributes:
        width, height: in pixels, as OpenCV reads it.
        turned: whether it lies across in the file, and its EXIF entry turns it.
        orientation: the EXIF entry; 1 where there is none.
    """

    width: int
    height: int
    turned: bool = False
    orientation: int = 1


class Seen(NamedTuple):
    """An image that was opened: what is known of it; if it can be used its thumbnail and look."""

    entry: Entry
    small: Optional[np.ndarray] = None
    look: Optional[Look] = None


def see(source: Path, image: Annotated, max_pixels: int) -> Seen:
    """One image opened, or the reason to leave it out."""
    entry = Entry(image.path, 0, ANY, image.split, image.group, dropped=image.dropped)
    if image.dropped:
        return Seen(entry)
    if outside(image.path):
        return Seen(entry._replace(dropped="leads out of the source folder"))
    known, pixels = opened(source, entry, max_pixels)
    if pixels is None:
        return Seen(known)
    height, width = pixels.shape[:2]
    stored, orientation = _stored(source / image.path)
    lies = width != height and stored == (width, height)
    if orientation > 4 and lies:  # of a format whose entry OpenCV does not look for
        orientation = 1
    turned = width != height and stored == (height, width)
    return Seen(known, thumbnail(pixels), Look(width, height, turned, orientation))


def _stored(path: Path) -> tuple[tuple[int, int], int]:
    """An image's width and height in its file, and the orientation that its EXIF entry tells."""
    try:
        with Image.open(path) as image:
            told = image.getexif().get(_ORIENTATION, 1)
            return image.size, told if told in range(1, 9) else 1
    except Exception:  # whatever a broken entry leads Pillow's many readers to
        return (0, 0), 1
