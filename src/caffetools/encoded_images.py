"""Images as files of their kind hold them, within a Datum or to be put into one."""

from __future__ import annotations

import io
from typing import Optional

import cv2
import numpy as np

from caffetools.cli import ToolError
from caffetools.images import MAX_PIXELS, fault_in


def encode(image: np.ndarray, kind: str) -> bytes:
    """A uint8 image ``(H, W, C)`` as a file of this kind (``png``, ``jpg`` ...).

    Raises :class:`ToolError` where OpenCV writes no such files, or none of that size.
    """
    try:
        whole, content = cv2.imencode(f".{kind}", image)
    except cv2.error as error:
        raise ToolError(f"{kind}: OpenCV cannot encode images so; take png or jpg") from error
    if not whole:
        height, width = image.shape[:2]
        raise ToolError(
            f"{kind}: {width} x {height} pixels are too many for it; store a smaller one"
        )
    return bytes(content.tobytes())


def decoded(data: memoryview, max_pixels: Optional[int] = None) -> np.ndarray:
    """The planes ``(C, H, W)``, uint8, of a file that is not trusted.

    ValueError, saying what is wrong, where it is no whole image of 8 bits.
    """
    if not len(data):
        raise ValueError("it is encoded, and has no data")
    reason = fault_in(io.BytesIO(data), MAX_PIXELS if max_pixels is None else max_pixels)
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
