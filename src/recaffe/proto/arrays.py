"""BlobProto to and from NumPy, without a Python object a float."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from recaffe.errors import FormatError, SizeError
from recaffe.proto import wire
from recaffe.proto.schema import BlobProto
from recaffe.shapes import why_impossible

_NUMBERS = {field.name: field.number for field in BlobProto.DESCRIPTOR.fields}
_SHAPE = _NUMBERS["shape"]
_LEGACY_DIMS = {_NUMBERS[name]: name for name in ("num", "channels", "height", "width")}
_VALUES: dict[int, np.dtype[Any]] = {
    _NUMBERS["data"]: np.dtype("<f4"),
    _NUMBERS["diff"]: np.dtype("<f4"),
    _NUMBERS["double_data"]: np.dtype("<f8"),
    _NUMBERS["double_diff"]: np.dtype("<f8"),
}
_FIXED = {4: wire.FIXED32, 8: wire.FIXED64}
# What NVCaffe adds to BlobProto: values as bytes, and which type they have. OpenCV's
# shrinkCaffeModel writes them, too.
_RAW_TYPE, _RAW_DATA = 10, 12
_RAW_DTYPES = [np.dtype(name) for name in ("<f8", "<f4", "<f2", "<i4", "<u4", "u1")]
_RAW_BOOL = len(_RAW_DTYPES) - 1


class StoredBlob:
    """A serialised BlobProto, taken apart; its values are the bytes that they are in the file.

    Raises:
        FormatError: no such message.
    """

    def __init__(self, message: memoryview) -> None:
        self.legacy_dims: dict[str, int] = {}
        self.dims: list[int] = []
        self.runs: dict[int, list[memoryview]] = {}
        self.raw: memoryview | None = None
        self.raw_type: int | None = None
        for number, wire_type, value in wire.fields(message):
            if isinstance(value, int):
                if number in _LEGACY_DIMS:
                    self.legacy_dims[_LEGACY_DIMS[number]] = _signed(value, 32)
                elif number == _RAW_TYPE:
                    self.raw_type = _signed(value, 32)
            elif number in _VALUES:
                self._add_run(number, wire_type, value)
            elif wire_type == wire.LENGTH_DELIMITED:
                if number == _SHAPE:
                    self.dims += _dims(value)
                elif number == _RAW_DATA:
                    self.raw = value

    def _add_run(self, number: int, wire_type: int, value: memoryview) -> None:
        size = _VALUES[number].itemsize
        if wire_type == wire.LENGTH_DELIMITED:
            if len(value) % size:
                raise FormatError(
                    f"{len(value)} bytes of values are not whole {_VALUES[number].name}s"
                )
        elif wire_type != _FIXED[size]:
            return
        self.runs.setdefault(number, []).append(value)

    @property
    def legacy(self) -> bool:
        """Whether the shape is ``num, channels, height, width``, as older files have it."""
        return bool(self.legacy_dims)

    @property
    def shape(self) -> tuple[int, ...]:
        if self.legacy:
            return tuple(self.legacy_dims.get(name, 0) for name in _LEGACY_DIMS.values())
        return tuple(self.dims)

    def array(self) -> np.ndarray:
        """The ``data``, shaped; a view of the message where possible.

        Raises:
            FormatError: a shape that does not hold the number of values, or of diffs.
        """
        array = _reshaped(self._values(), self.shape)
        if self._diff_size() not in (0, array.size):
            raise FormatError(
                f"a blob of shape {list(array.shape)} holds {array.size} diffs, "
                f"found {self._diff_size()}"
            )
        return array

    def _values(self) -> np.ndarray:
        """Doubles if there are some, else floats, else raw values."""
        for name in ("double_data", "data"):
            values = self._array(_NUMBERS[name])
            if values.size:
                return values
        return values if self.raw is None else self._raw_values(self.raw)

    def _raw_values(self, raw: memoryview) -> np.ndarray:
        if self.raw_type is None or not 0 <= self.raw_type < len(_RAW_DTYPES):
            raise FormatError(
                f"raw values of the type {self.raw_type}; known are 0 to {len(_RAW_DTYPES) - 1}"
            )
        dtype = _RAW_DTYPES[self.raw_type]
        if len(raw) % dtype.itemsize:
            raise FormatError(f"{len(raw)} bytes of raw values are not whole {dtype.name}s")
        values = np.frombuffer(raw, dtype)
        return values != 0 if self.raw_type == _RAW_BOOL else values

    def _diff_size(self) -> int:
        """How many diffs there are: doubles if there are some, else floats."""
        sizes = [self._array(_NUMBERS[name]).size for name in ("double_diff", "diff")]
        return sizes[0] or sizes[1]

    def _array(self, number: int) -> np.ndarray:
        # One run is what everybody writes, and is not copied; several, or values one field
        # each, are legal.
        runs = self.runs.get(number, [b""])
        return np.frombuffer(runs[0] if len(runs) == 1 else b"".join(runs), _VALUES[number])


def _signed(value: int, bits: int) -> int:
    """The integer of so many bits that was written as the varint ``value``."""
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def _dims(shape: memoryview) -> list[int]:
    """The dims of a serialised BlobShape."""
    dims = []
    for number, wire_type, value in wire.fields(shape):
        if number != 1:
            continue
        if isinstance(value, int):
            dims.append(_signed(value, 64))
        elif wire_type == wire.LENGTH_DELIMITED:
            position = 0
            while position < len(value):
                dim, position = wire.read_varint(value, position)
                dims.append(_signed(dim, 64))
    return dims


def decode(message: memoryview) -> np.ndarray:
    """The ``data`` of a serialised BlobProto, shaped; a view of ``message`` where possible.

    Raises:
        FormatError: no such message, or a shape that does not hold the number of values.
    """
    return StoredBlob(message).array()


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


def _reshaped(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if problem := why_impossible(shape):
        raise FormatError(problem)
    if math.prod(shape) != values.size:
        raise SizeError(
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
    return [*pieces, wire.field_header(_SHAPE, len(shape_message)), shape_message]


def framed(number: int, pieces: Sequence[bytes | memoryview]) -> Iterator[bytes | memoryview]:
    """``pieces`` as one length-delimited field."""
    yield wire.field_header(number, sum(len(piece) for piece in pieces))
    yield from pieces


def shape_fits(found: Sequence[int], legacy: bool, expected: Sequence[int]) -> bool:
    """Whether a stored blob's shape is the one expected.

    Caffe's older files store every blob with four axes, an inner product's weights ``(N, K)``
    as ``(1, 1, N, K)``: of such a ``legacy`` shape axes that lead with 1 may be missing.

    Source: ``Blob::ShapeEquals`` in Caffe's ``blob.cpp``.
    """
    if not legacy or len(expected) > len(found):
        return tuple(found) == tuple(expected)
    return tuple(found) == (1,) * (len(found) - len(expected)) + tuple(expected)
