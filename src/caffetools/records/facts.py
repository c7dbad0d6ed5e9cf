"""What a record is, told without decoding it, and its pixels, decoded with care."""

from __future__ import annotations

import io
from typing import Optional

import cv2
import numpy as np
from PIL import Image

from caffetools.datum_fields import Fields
from caffetools.images import MAX_PIXELS, fault_in, is_image

Shape = tuple[int, ...]

RAW, FLOAT = "raw", "float"
# How image files begin.
_SIGNATURES = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG": "PNG",
    b"GIF8": "GIF",
    b"BM": "BMP",
    b"RIFF": "WEBP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
}
# The channels that OpenCV makes of Pillow's kinds of pixels, as Caffe decodes; 3 of all others.
_CHANNELS = {"1": 1, "L": 1, "I": 1, "I;16": 1, "F": 1, "LA": 4, "PA": 4, "RGBA": 4}


def stored_as(fields: Fields) -> str:
    """``raw`` bytes, ``float`` values, or the kind of image file (``encoded`` if unknown)."""
    if fields.encoded:
        start = bytes(fields.data[:4])
        return next(
            (kind for mark, kind in _SIGNATURES.items() if start.startswith(mark)), "encoded"
        )
    return FLOAT if fields.floats and not len(fields.data) else RAW


def shape_of(fields: Fields) -> Optional[Shape]:
    """(channels, height, width) as told, of an image file as its head tells; None if it is none."""
    if not fields.encoded:
        return fields.shape
    try:
        with Image.open(io.BytesIO(fields.data)) as image:
            return (_CHANNELS.get(image.mode, 3), image.size[1], image.size[0])
    except Exception:  # whatever a broken file leads Pillow's many readers to
        return None


def as_text(shape: Optional[Shape]) -> str:
    """``3x32x40``: channels, height, width; ``?`` where there is none."""
    return "?" if shape is None else "x".join(map(str, shape))


def pixels(fields: Fields, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """The values (channels, height, width): uint8, or float32 of float_data.

    ValueError, saying why, where there are none: where they are not as many as the shape tells,
    or the image is not whole, is none that OpenCV decodes to 8 bits, as Caffe asks for, or has
    more than ``max_pixels``.
    """
    if fields.encoded:
        return _decoded(bytes(fields.data), max_pixels)
    if len(fields.data) and fields.floats:
        raise ValueError("it has both data and float_data, of which Caffe reads data alone")
    count = len(fields.data) or fields.float_count
    if not count:
        raise ValueError("it has no data")
    channels, height, width = fields.shape
    if min(fields.shape) < 1 or channels * height * width != count:
        raise ValueError(
            f"it has {count} {'bytes of data' if len(fields.data) else 'floats'}, and its shape "
            f"{as_text(fields.shape)} (channels, height, width) takes "
            f"{max(channels, 0) * max(height, 0) * max(width, 0)}"
        )
    if len(fields.data):
        return np.frombuffer(fields.data, np.uint8).reshape(fields.shape)
    return np.concatenate(fields.floats).reshape(fields.shape)


def _decoded(data: bytes, max_pixels: int) -> np.ndarray:
    if not data:
        raise ValueError("it is encoded, and has no data")
    # What Pillow does not know is not decoded: nothing would tell beforehand how large it is.
    if not is_image(io.BytesIO(data)):
        raise ValueError("its data begins as no image file that is known does")
    reason = fault_in(io.BytesIO(data), max_pixels)
    if reason:
        raise ValueError(f"its image {reason}")
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        image = None
    if image is None:
        raise ValueError("its image is cut off or damaged: OpenCV cannot decode it")
    if image.dtype != np.uint8:
        raise ValueError(f"its image has values of type {image.dtype}, and Caffe takes 8 bits")
    return np.atleast_3d(image).transpose(2, 0, 1)
