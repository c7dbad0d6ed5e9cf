"""caffe.io: blobs and datums to and from NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np

from recaffe.data.datum import to_array
from recaffe.proto.arrays import decode, encode
from recaffe.proto.schema import BlobProto, Datum


def blobproto_to_array(blob: Any) -> np.ndarray:
    """The data of a BlobProto, shaped."""
    return np.array(decode(memoryview(blob.SerializeToString())))


def array_to_blobproto(array: np.ndarray, diff: np.ndarray | None = None) -> Any:
    """A BlobProto of an array, with its diff if given."""
    return BlobProto.FromString(b"".join(encode(np.asarray(array), diff)))


def array_to_datum(array: np.ndarray, label: int | None = None) -> Any:
    """A Datum of an array ``(channels, height, width)``: bytes if it is uint8, else floats."""
    if array.ndim != 3:
        raise ValueError(f"a datum holds (channels, height, width), found the shape {array.shape}")
    datum = Datum(channels=array.shape[0], height=array.shape[1], width=array.shape[2])
    if array.dtype == np.uint8:
        datum.data = array.tobytes()
    else:
        datum.float_data.extend(array.astype(np.float32).ravel().tolist())
    if label is not None:
        datum.label = label
    return datum


def datum_to_array(datum: Any) -> np.ndarray:
    """The array ``(channels, height, width)`` in a Datum."""
    return np.array(to_array(datum, "datum"))
