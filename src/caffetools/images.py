"""Reading images the way Caffe does."""

from __future__ import annotations

from pathlib import Path
from typing import Optional

import cv2
import numpy as np

# What people's image folders hold; which of them decode depends on OpenCV's build.
_BITMAPS = (".bmp", ".dib", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff")
_PHOTOGRAPHS = (".jp2", ".jpe", ".jpeg", ".jpg", ".webp")
EXTENSIONS = frozenset((*_BITMAPS, *_PHOTOGRAPHS))


def read_image(path: Path, gray: bool = False) -> Optional[np.ndarray]:
    """The image as uint8 ``(H, W, 3)`` in BGR, or ``(H, W, 1)`` in gray; None if unreadable.

    An alpha channel is dropped, 16-bit values become 8-bit ones, and a photograph is turned
    as its EXIF entry says, all of which ``convert_imageset`` leaves to OpenCV as well.
    """
    how = cv2.IMREAD_GRAYSCALE if gray else cv2.IMREAD_COLOR
    try:
        if _is_text(str(path)):
            image = cv2.imread(str(path), how)
        else:  # of which OpenCV's binding ends the process
            image = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), how)
    except cv2.error:  # such as more pixels than OpenCV is willing to allocate
        return None
    return None if image is None else np.atleast_3d(image)


def _is_text(name: str) -> bool:
    """Whether a file's name is UTF-8, which Linux does not ask of names."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def resize(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """A uint8 image ``(H, W, C)`` in another size, as convert_imageset resizes it.

    Proportions are not kept. It is OpenCV's bilinear interpolation, with nothing against aliasing.
    """
    return np.atleast_3d(cv2.resize(image, (width, height)))
