"""caffe.io: blobs and datums to and from NumPy, images, and the Transformer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from caffe.images import load_image, oversample, resize_image
from caffe.proto import caffe_pb2
from recaffe.data.datum import to_array
from recaffe.errors import DataError
from recaffe.proto.arrays import decode, encode

__all__ = [
    "Transformer",
    "array_to_blobproto",
    "array_to_datum",
    "arraylist_to_blobprotovector_str",
    "blobproto_to_array",
    "blobprotovector_str_to_arraylist",
    "datum_to_array",
    "load_image",
    "oversample",
    "resize_image",
]

# --- blobs and datums -----------------------------------------------------------------


def blobproto_to_array(blob: Any, return_diff: bool = False) -> np.ndarray:
    """The data of a BlobProto, or its diff, shaped; in float64, as pycaffe gives it."""
    if return_diff:
        diff = type(blob)()
        diff.CopyFrom(blob)
        diff.data[:], diff.double_data[:] = blob.diff, blob.double_diff
        blob = diff
    return decode(memoryview(blob.SerializeToString())).astype(np.float64)


def array_to_blobproto(arr: np.ndarray, diff: np.ndarray | None = None) -> Any:
    """A BlobProto of an array, with its diff if given."""
    return caffe_pb2.BlobProto.FromString(b"".join(encode(np.asarray(arr), diff)))


def arraylist_to_blobprotovector_str(arraylist: Iterable[np.ndarray]) -> bytes:
    """Arrays as a serialised BlobProtoVector."""
    vector = caffe_pb2.BlobProtoVector(blobs=map(array_to_blobproto, arraylist))
    return vector.SerializeToString()


def blobprotovector_str_to_arraylist(str: bytes) -> list[np.ndarray]:
    """The arrays in a serialised BlobProtoVector."""
    return [blobproto_to_array(blob) for blob in caffe_pb2.BlobProtoVector.FromString(str).blobs]


def array_to_datum(arr: np.ndarray, label: int | None = None) -> Any:
    """A Datum of an array ``(channels, height, width)``: bytes if it is uint8, else floats."""
    if arr.ndim != 3:
        raise ValueError(f"a datum holds (channels, height, width), found the shape {arr.shape}")
    datum = caffe_pb2.Datum(channels=arr.shape[0], height=arr.shape[1], width=arr.shape[2])
    if arr.dtype == np.uint8:
        datum.data = arr.tobytes()
    else:
        datum.float_data.extend(arr.astype(np.float32).ravel().tolist())
    if label is not None:
        datum.label = label
    return datum


def datum_to_array(datum: Any) -> np.ndarray:
    """The array ``(channels, height, width)`` in a Datum: uint8, or float64 if it holds floats.

    Raises:
        SizeError: another number of values.
    """
    shape = (datum.channels, datum.height, datum.width)
    if 0 in shape and not (datum.encoded or datum.data or datum.float_data):
        return np.zeros(shape)
    array = np.array(to_array(datum, "datum"))
    return array if array.dtype == np.uint8 else array.astype(np.float64)


# --- images for nets ------------------------------------------------------------------


class Transformer:
    """Makes images into inputs of a net, and back.

    An image becomes an input by these steps, each only if it is set: its size becomes that of
    the input, its axes are transposed, its channels reordered, its values multiplied by
    ``raw_scale``, the mean subtracted, the rest multiplied by ``input_scale``.

    Args:
        inputs: the shapes ``(batch, channels, height, width)`` of a net's inputs by name.
    """

    def __init__(self, inputs: Mapping[str, Sequence[int]]) -> None:
        self.inputs = inputs
        self.transpose: dict[str, Sequence[int]] = {}
        self.channel_swap: dict[str, Sequence[int]] = {}
        self.raw_scale: dict[str, Any] = {}
        self.mean: dict[str, np.ndarray] = {}
        self.input_scale: dict[str, Any] = {}

    def preprocess(self, in_: str, data: np.ndarray) -> np.ndarray:
        """The input that an image ``(height, width, channels)`` becomes; it is not changed."""
        size = self._shape(in_)[2:]
        image = np.array(data, np.float32)
        if image.shape[:2] != size:
            image = resize_image(image, size)
        if in_ in self.transpose:
            image = image.transpose(self.transpose[in_])
        if in_ in self.channel_swap:
            image = image[list(self.channel_swap[in_])]
        # In place, so that the result is float32 whatever type mean and scales have.
        if in_ in self.raw_scale:
            image *= self.raw_scale[in_]
        if in_ in self.mean:
            image -= self.mean[in_]
        if in_ in self.input_scale:
            image *= self.input_scale[in_]
        return image

    def deprocess(self, in_: str, data: np.ndarray) -> np.ndarray:
        """The image that became the input ``data``, in the input's size."""
        self._shape(in_)
        image = np.array(data).squeeze()
        if in_ in self.input_scale:
            image /= self.input_scale[in_]
        if in_ in self.mean:
            image += self.mean[in_]
        if in_ in self.raw_scale:
            image /= self.raw_scale[in_]
        if in_ in self.channel_swap:
            image = image[np.argsort(self.channel_swap[in_])]
        if in_ in self.transpose:
            image = image.transpose(np.argsort(self.transpose[in_]))
        return image

    def set_transpose(self, in_: str, order: Sequence[int]) -> None:
        """Set the order of the axes: ``(2, 0, 1)`` for images ``(height, width, channels)``."""
        axes = len(self._shape(in_)) - 1
        if len(order) != axes:
            raise DataError(f"input '{in_}': expected an order of {axes} axes, found {order}")
        self.transpose[in_] = order

    def set_channel_swap(self, in_: str, order: Sequence[int]) -> None:
        """Set the order of the channels, after the transposition: ``(2, 1, 0)`` makes RGB BGR."""
        channels = self._shape(in_)[1]
        if len(order) != channels:
            raise DataError(
                f"input '{in_}': expected an order of {channels} channels, found {order}"
            )
        self.channel_swap[in_] = order

    def set_raw_scale(self, in_: str, scale: float) -> None:
        """Set what images are multiplied by: 255 for nets that take values from 0 to 255."""
        self._shape(in_)
        self.raw_scale[in_] = _plain(scale)

    def set_mean(self, in_: str, mean: np.ndarray) -> None:
        """Set the mean to subtract: one value a channel, or an image, resized if need be."""
        shape = self._shape(in_)[1:]
        if mean.ndim == 1:
            if len(mean) != shape[0]:
                raise ValueError(
                    f"input '{in_}' has {shape[0]} channels, the mean {len(mean)} values"
                )
            mean = mean[:, np.newaxis, np.newaxis]
        elif mean.ndim not in (2, 3):
            raise ValueError(
                f"input '{in_}': expected a mean of channels, (height, width) or "
                f"(channels, height, width), found the shape {mean.shape}"
            )
        elif (1, *mean.shape)[-3:] != shape:
            mean = _resize_mean(mean.reshape((1, *mean.shape)[-3:]), shape[1:])
        self.mean[in_] = mean

    def set_input_scale(self, in_: str, scale: float) -> None:
        """Set what inputs are multiplied by after all else."""
        self._shape(in_)
        self.input_scale[in_] = _plain(scale)

    def _shape(self, in_: str) -> tuple[int, ...]:
        if in_ not in self.inputs:
            raise DataError(f"'{in_}' is none of the net's inputs: {', '.join(self.inputs)}")
        return tuple(self.inputs[in_])


def _plain(scale: Any) -> Any:
    """A scalar as Python's own, which leaves float32 arrays float32 when they are scaled."""
    return float(scale) if np.ndim(scale) == 0 else scale


def _resize_mean(mean: np.ndarray, size: Sequence[int]) -> np.ndarray:
    # In two steps, as pycaffe does it, whose numbers these are then to the last bit but few.
    low, span = mean.min(), mean.max() - mean.min()
    normal = (mean - low) / (span or 1)
    resized = resize_image(normal.transpose(1, 2, 0), size).transpose(2, 0, 1)
    return resized * float(span) + float(low)
