"""Datum, Caffe's record: an image or a float array, with a label."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from google.protobuf.message import DecodeError

from recaffe.errors import DataError, SizeError
from recaffe.proto.schema import Datum


def parse(record: bytes | memoryview, where: str) -> Any:
    """The Datum in ``record``; ``where`` names the record in errors."""
    try:
        return Datum.FromString(record)
    except DecodeError:
        raise DataError(f"{where}: expected a Datum, found bytes that are not one") from None


def to_array(datum: Any, where: str, color: bool | None = None) -> np.ndarray:
    """The values as ``(channels, height, width)``: uint8 for images, float32 for float data.

    Encoded images are decoded to BGR or gray as ``color`` says, or as they are stored.

    Raises:
        DataError: an image that does not decode, or a size that does not hold the values.
    """
    data = datum.data  # a copy each time that it is asked for
    if datum.encoded:
        return decode(data, where, color)
    shape = (datum.channels, datum.height, datum.width)
    values = (
        np.frombuffer(data, np.uint8)
        if data
        else np.fromiter(datum.float_data, np.float32, len(datum.float_data))
    )
    if min(shape) < 1 or values.size != shape[0] * shape[1] * shape[2]:
        raise SizeError(f"{where}: a datum of {shape} cannot hold {values.size} values")
    return values.reshape(shape)


def decode(data: bytes, where: str, color: bool | None = None) -> np.ndarray:
    """The image in the bytes of a PNG, JPEG ..., ``(channels, height, width)`` in uint8."""
    flags = {None: cv2.IMREAD_UNCHANGED, True: cv2.IMREAD_COLOR, False: cv2.IMREAD_GRAYSCALE}
    encoded = np.frombuffer(data, np.uint8)
    try:
        image = cv2.imdecode(encoded, flags[color])
    except cv2.error:  # no bytes, or an image larger than OpenCV takes
        image = None
    if image is None:
        raise DataError(f"{where}: the encoded image does not decode")
    if image.dtype != np.uint8:
        raise DataError(f"{where}: the encoded image has {image.dtype} values, expected 8-bit ones")
    return image[np.newaxis] if image.ndim == 2 else image.transpose(2, 0, 1)
