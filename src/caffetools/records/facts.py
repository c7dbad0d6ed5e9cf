"""What a record is, told without decoding it."""

from __future__ import annotations

import io
from typing import Optional

from PIL import Image

from caffetools.datum_fields import Fields

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
