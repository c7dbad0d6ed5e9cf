"""Reading images the way Caffe does."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO, Optional, Union

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

# What people's image folders hold; which of them decode depends on OpenCV's build.
_BITMAPS = (".bmp", ".dib", ".gif", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff")
_PHOTOGRAPHS = (".jp2", ".jpe", ".jpeg", ".jpg", ".webp")
EXTENSIONS = frozenset((*_BITMAPS, *_PHOTOGRAPHS))
# Where Pillow takes an image for an attack. Decoded it fills half a gigabyte.
MAX_PIXELS = 178_956_970
# What Pillow calls JPEG, and JPEG with further pictures behind, as telephones write it.
_PHOTOGRAPHIC = ("JPEG", "MPO")
_UNKNOWN = "cannot be decoded as an image"


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


def read_checked(
    path: Path, gray: bool = False, max_pixels: int = MAX_PIXELS
) -> tuple[Optional[np.ndarray], str]:
    """:func:`read_image` of a file that is not trusted: the image, or None and why there is none.

    The reason is that of :func:`fault`, before anything is decoded, or that decoding failed.
    """
    reason = fault(path, max_pixels)
    image = None if reason else read_image(path, gray)
    return image, reason or ("" if image is not None else _UNKNOWN)


def is_image(source: Union[Path, BinaryIO]) -> bool:
    """Whether a file begins as an image of a kind that Pillow knows, whatever its name."""
    try:
        with Image.open(source):
            return True
    except Image.DecompressionBombError:
        return True
    except Exception:  # whatever a broken file leads Pillow's many readers to
        return False


def fault(path: Path, max_pixels: int = MAX_PIXELS) -> str:
    """Why an image should not be decoded, or nothing, as :func:`fault_in` tells."""
    try:
        with path.open("rb") as stream:
            return fault_in(stream, max_pixels)
    except OSError as error:
        return f"is cut off or damaged ({error})"


def fault_in(stream: BinaryIO, max_pixels: int = MAX_PIXELS) -> str:
    """Why the image in an open file should not be decoded, or nothing.

    It has more than ``max_pixels``; or is a photograph that is cut off, of which decoders fill
    what is missing with gray; or is of a kind that Pillow does not know: OpenCV may know it, and
    nothing but decoding would tell how large it is.
    """
    try:
        with Image.open(stream) as image:
            width, height = image.size
            if width * height > max_pixels:
                return f"has {width} x {height} pixels, more than the {max_pixels} of max_pixels"
            if image.format in _PHOTOGRAPHIC and not _ends_as_jpeg(stream):
                image.load()
    except Image.DecompressionBombError:
        return f"has more than {MAX_PIXELS} pixels, as files made to fill a memory have"
    except UnidentifiedImageError:
        return _UNKNOWN
    except Exception as error:  # whatever a broken file leads Pillow's many readers to
        return f"is cut off or damaged ({error})"
    return ""


def _ends_as_jpeg(stream: BinaryIO) -> bool:
    place = stream.tell()
    stream.seek(max(stream.seek(0, os.SEEK_END) - 64, 0))
    end = stream.read()
    stream.seek(place)
    return end.rstrip(b"\0").endswith(b"\xff\xd9")


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
