"""The images in Datums, and an LMDB's Datums picked by their places."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Optional, Union

import numpy as np
from google.protobuf.message import DecodeError

from caffe.proto import caffe_pb2
from caffetools import databases
from caffetools.cli import ToolError
from caffetools.datum_fields import Fields, read_fields, tagged_floats
from caffetools.records.facts import as_text


def datum_bytes(image: np.ndarray, label: int) -> bytes:
    """A uint8 image ``(H, W, C)`` and its label as a serialized ``Datum``."""
    return planes_bytes(image.transpose(2, 0, 1), label)


def planes_bytes(planes: np.ndarray, label: int = 0) -> bytes:
    """Planes ``(C, H, W)`` and their label as a serialized ``Datum``.

    Of uint8 they are its data, of float32 its float_data.
    """
    channels, height, width = planes.shape
    datum = caffe_pb2.Datum(channels=channels, height=height, width=width, label=label)
    # Written although it is the default, since BVLC's writes it.
    if planes.dtype == np.uint8:
        datum.data, datum.encoded = planes.tobytes(), False
        return bytes(datum.SerializeToString())
    last = caffe_pb2.Datum(encoded=False)
    return bytes(datum.SerializeToString() + tagged_floats(planes) + last.SerializeToString())


def encoded_datum_bytes(data: bytes, label: int) -> bytes:
    """An image as a file of it is, and its label, as a serialized ``Datum``."""
    return bytes(caffe_pb2.Datum(data=data, label=label, encoded=True).SerializeToString())


def pixels_of(value: Union[bytes, memoryview]) -> np.ndarray:
    """:func:`pixels` of a serialized ``Datum``; ValueError as well where it is none."""
    try:
        fields = read_fields(memoryview(value))
    except ValueError as error:
        raise ValueError(f"it is no Datum: {error}") from error
    return pixels(fields)


def pixels(fields: Fields, max_pixels: Optional[int] = None) -> np.ndarray:
    """The values (channels, height, width): uint8, or float32 of float_data.

    Raw bytes are a view into the record. ValueError, saying why, where there are none: where they
    are not as many as the shape tells, or the image is not whole, is none that OpenCV decodes to
    8 bits, as Caffe asks for, or has more than ``max_pixels`` (:data:`caffetools.images.MAX_PIXELS`
    where none are given).
    """
    if fields.encoded:
        # Not at the top: OpenCV takes longer to load than the mean of a thousand raw images.
        from caffetools.encoded_images import decoded

        return decoded(fields.data, max_pixels)
    # Of both Caffe reads data alone.
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


def datum_image(datum: Any) -> np.ndarray:
    """A Datum's pixels, (h, w) gray or (h, w, 3) RGB, from 0 to 255; raw or encoded.

    Of other numbers of channels the first one is shown, and of four (with alpha) the first three.
    Raises :class:`ToolError` where it has no pixels.
    """
    try:
        planes = pixels_of(datum.SerializeToString())
    except ValueError as error:
        raise ToolError(f"a record of the LMDB: {error}; convert the images again") from error
    return planes[2::-1].transpose(1, 2, 0) if len(planes) in (3, 4) else planes[0]


def read_datums(path: Path, indices: Sequence[int]) -> list[Any]:
    """The Datums at these positions of the LMDB's key order.

    Raises :class:`ToolError` where it has fewer entries, or other records than Datums.
    """
    with databases.reading_lmdb(path) as transaction:
        keys = list(transaction.cursor().iternext(keys=True, values=False))
        beyond = [index for index in indices if not 0 <= index < len(keys)]
        if beyond:
            raise ToolError(
                f"{path}: it has {len(keys)} entries, counted from 0, and entry {beyond[0]} is "
                "asked for; give the LMDB that was meant"
            )
        values = [transaction.get(keys[index]) for index in indices]
    try:
        return [caffe_pb2.Datum.FromString(value) for value in values]
    except DecodeError as error:
        raise ToolError(f"{path}: expected Datums, found other records ({error})") from error
