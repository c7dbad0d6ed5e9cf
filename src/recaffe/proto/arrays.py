"""BlobProto to and from NumPy, without a Python object a float."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from recaffe.errors import FormatError
from recaffe.proto import wire
from recaffe.proto.schema import BlobProto

_NUMBERS = {field.name: field.number for field in BlobProto.DESCRIPTOR.fields}
_LEGACY_DIMS = ("num", "channels", "height", "width")
_ARRAY_FIELDS: dict[int, np.dtype[Any]] = {
    _NUMBERS["data"]: np.dtype("<f4"),
    _NUMBERS["double_data"]: np.dtype("<f8"),
}
_DIFF_NUMBERS = (_NUMBERS["diff"], _NUMBERS["double_diff"])
# Caffe's own bound on a blob: INT_MAX elements.
MAX_COUNT = 2**31 - 1


def decode(message: memoryview) -> np.ndarray:
    """The ``data`` of a serialised BlobProto, shaped; a view of ``message`` where possible.

    The shape is ``shape`` or, in older files, ``num, channels, height, width``.

    Raises:
        FormatError: no such message, or a shape that does not hold the number of values.
    """
    header = bytearray()
    values: np.ndarray | None = None
    for number, wire_type, value in wire.fields(message):
        dtype = _ARRAY_FIELDS.get(number)
        if dtype is None:
            if number not in _DIFF_NUMBERS:
                header += copy_field(number, wire_type, value)
        elif wire_type == wire.LENGTH_DELIMITED and values is None:
            assert isinstance(value, memoryview)
            if len(value) % dtype.itemsize:
                raise FormatError(f"{len(value)} bytes of values are not whole {dtype.name}s")
            values = np.frombuffer(value, dtype)
        else:
            # Values one field each, or in several runs: legal, but nobody writes them in bulk.
            return _decode_slowly(bytes(message))
    shape = _shape_of(parse(BlobProto, header))
    return _reshaped(np.zeros(0, np.float32) if values is None else values, shape)


def parse(message_class: Any, data: bytes | bytearray) -> Any:
    """``message_class.FromString`` with our error."""
    try:
        return message_class.FromString(bytes(data))
    except DecodeError:
        raise FormatError(f"not a {message_class.DESCRIPTOR.name}") from None


def copy_field(number: int, wire_type: int, value: int | memoryview) -> bytes:
    """One field again, as bytes."""
    tag = wire.varint(number << 3 | wire_type)
    if isinstance(value, int):
        return tag + wire.varint(value)
    length = wire.varint(len(value)) if wire_type == wire.LENGTH_DELIMITED else b""
    return tag + length + bytes(value)


def _decode_slowly(message: bytes) -> np.ndarray:
    blob = parse(BlobProto, message)
    values = blob.double_data or blob.data
    return _reshaped(
        np.fromiter(values, np.float64 if blob.double_data else np.float32), _shape_of(blob)
    )


def _shape_of(blob: BlobProto) -> tuple[int, ...]:
    if any(blob.HasField(name) for name in _LEGACY_DIMS):
        return tuple(getattr(blob, name) for name in _LEGACY_DIMS)
    return tuple(blob.shape.dim)


def _reshaped(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if any(dim < 0 for dim in shape) or math.prod(shape) > MAX_COUNT:
        raise FormatError(f"a blob cannot have the shape {list(shape)}")
    if math.prod(shape) != values.size:
        raise FormatError(
            f"a blob of shape {list(shape)} holds {math.prod(shape)} values, found {values.size}"
        )
    return values.reshape(shape)


def encode(data: np.ndarray, diff: np.ndarray | None = None) -> list[bytes | memoryview]:
    """A BlobProto with ``shape``, ``data`` and, if given, ``diff``, as pieces to be written.

    The arrays' bytes are not copied: the pieces view them.
    """
    shape = b"".join(wire.varint(dim) for dim in data.shape)
    shape_message = wire.field_header(1, len(shape)) + shape
    pieces: list[bytes | memoryview] = []
    for name, array in (("data", data), ("diff", diff)):
        if array is not None:
            raw = np.ascontiguousarray(array, "<f4")
            pieces += [
                wire.field_header(_NUMBERS[name], raw.nbytes),
                raw.reshape(-1).view("u1").data,
            ]
    return [*pieces, wire.field_header(_NUMBERS["shape"], len(shape_message)), shape_message]


def framed(number: int, pieces: Sequence[bytes | memoryview]) -> Iterator[bytes | memoryview]:
    """``pieces`` as one length-delimited field."""
    yield wire.field_header(number, sum(len(piece) for piece in pieces))
    yield from pieces


def legacy_shape_equal(found: Sequence[int], expected: Sequence[int]) -> bool:
    """Whether two shapes are the same once missing leading axes count as 1, up to four axes.

    Caffe's older files store every blob with four axes: an inner product's weights
    ``(N, K)`` as ``(1, 1, N, K)``.

    Source: ``Blob::ShapeEquals`` in Caffe's ``blob.cpp``.
    """
    if tuple(found) == tuple(expected):
        return True
    if len(found) != 4 or len(expected) > 4:
        return False
    return tuple(found) == (1,) * (4 - len(expected)) + tuple(expected)
