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
    try:
        image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE if gray else cv2.IMREAD_COLOR)
    except cv2.error:  # such as more pixels than OpenCV is willing to allocate
        return None
    return None if image is None else np.atleast_3d(image)
