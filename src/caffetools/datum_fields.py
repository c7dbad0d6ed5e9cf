"""The fields of a serialized ``Datum``, read where they lie, without a copy of its pixels.

Protobuf would copy all of a record, which makes a hundred times the work: of a data set on disk
this touches the first and the last page of each record.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_NUMBERS = {1: "channels", 2: "height", 3: "width", 5: "label", 7: "encoded"}
_DATA, _FLOAT_DATA = 4, 6
_NAMES = {**_NUMBERS, _DATA: "data", _FLOAT_DATA: "float_data"}
# A float of float_data as Caffe writes it: one after the other, each behind its tag.
_TAGGED = np.dtype([("tag", "u1"), ("value", "<f4")])
_TAG = _FLOAT_DATA << 3 | _FIXED32
_MOST_FIELDS = 4096  # of a Datum, which has seven; floats in a row count as one


def tagged_floats(values: np.ndarray) -> bytes:
    """Values as the float_data of a serialized Datum, as protobuf writes it."""
    tagged = np.empty(values.size, _TAGGED)
    tagged["tag"] = _TAG
    tagged["value"] = values.reshape(-1)
    return tagged.tobytes()


class Fields(NamedTuple):
    """What a Datum holds; 0, False or empty what it does not tell.

    Attributes:
        shape: (channels, height, width) as they are told, of no check.
        label: the label.
        encoded: whether ``data`` is an image file.
        data: the bytes, a view into the record.
        floats: float_data in parts, views into the record.
        odd: fields that parsers skip or cut, each in a few words.
    """

    shape: tuple[int, int, int]
    label: int
    encoded: bool
    data: memoryview
    floats: tuple[np.ndarray, ...]
    odd: tuple[str, ...]

    @property
    def float_count(self) -> int:
        """How many values float_data has."""
        return sum(part.size for part in self.floats)


def read_fields(value: memoryview) -> Fields:
    """The fields of a serialized Datum; ValueError, saying what is wrong, where it is none."""
    numbers = dict.fromkeys(_NUMBERS, 0)
    data, floats, odd = value[:0], [], []
    position = 0
    for _ in range(_MOST_FIELDS):
        if position >= len(value):
            break
        start = position
        tag, position = _varint(value, position)
        field, kind = tag >> 3, tag & 7
        number, begin, position = _content(value, position, kind)
        if position > len(value):
            raise ValueError("it is cut off")
        if not field:
            raise ValueError("it has a field numbered 0")
        if field in _NUMBERS and kind == _VARINT:
            numbers[field] = bool(number) if _NUMBERS[field] == "encoded" else _signed(number)
            if _NUMBERS[field] != "encoded" and not _fits(number):
                odd.append(f"its {_NUMBERS[field]} is beyond 32 bits, and read as {numbers[field]}")
        elif field == _DATA and kind == _BYTES:
            data = value[begin:position]
        elif field == _FLOAT_DATA and kind == _BYTES:
            if (position - begin) % 4:
                raise ValueError("it has float_data that ends within a value")
            floats.append(np.frombuffer(value[begin:position], "<f4"))
        elif field == _FLOAT_DATA and kind == _FIXED32 and begin == start + 1:
            floats.append(_run(value, start))
            position = start + floats[-1].size * _TAGGED.itemsize
        elif field in _NAMES:
            odd.append(f"its {_NAMES[field]} is of wire type {kind}, and skipped by Caffe")
    else:
        if position < len(value):
            raise ValueError(f"it has more than {_MOST_FIELDS} fields")
    shape = (numbers[1], numbers[2], numbers[3])
    return Fields(shape, numbers[5], bool(numbers[7]), data, tuple(floats), tuple(odd))


def _content(value: memoryview, position: int, kind: int) -> tuple[int, int, int]:
    """A field's number (0 if it is none), and where its content begins and ends."""
    if kind == _VARINT:
        number, end = _varint(value, position)
        return number, position, end
    if kind == _BYTES:
        length, position = _varint(value, position)
        return 0, position, position + length
    if kind in (_FIXED32, _FIXED64):
        return 0, position, position + (4 if kind == _FIXED32 else 8)
    raise ValueError(f"it has a field of wire type {kind}")


def _run(value: memoryview, start: int) -> np.ndarray:
    """The floats that follow one another from ``start`` on, each behind its tag."""
    most = (len(value) - start) // _TAGGED.itemsize
    count = looked_at = 0
    # In steps that grow with what was found, since other fields may stand between any two.
    while count == looked_at < most:
        looked_at = min(most, 2 * count + 64)
        tags = np.frombuffer(value, _TAGGED, looked_at, start)["tag"]
        others = np.flatnonzero(tags[count:] != _TAG)
        count = count + int(others[0]) if others.size else looked_at
    return np.frombuffer(value, _TAGGED, count, start)["value"]


def _varint(value: memoryview, position: int) -> tuple[int, int]:
    number = 0
    for shift in range(0, 70, 7):
        if position >= len(value):
            raise ValueError("it is cut off")
        byte = value[position]
        position += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, position
    raise ValueError("it has a number of more than ten bytes")


def _signed(number: int) -> int:
    """An int32, which protobuf writes in 64 bits."""
    low = number & 0xFFFFFFFF
    return low - (1 << 32) if low >= 1 << 31 else low


def _fits(number: int) -> bool:
    return number < 1 << 31 or (1 << 64) - (1 << 31) <= number < 1 << 64
