"""The protobuf wire format, as far as reading and writing large arrays needs it.

protobuf's Python classes hand out repeated floats one Python object at a time, which for
the 61 million weights of CaffeNet takes seconds and gigabytes. So the outer messages of
weight files are walked here, and arrays are taken as views of the file's bytes.

Source: the encoding chapter of the Protocol Buffers documentation.
"""

from __future__ import annotations

from collections.abc import Iterator

from recaffe.errors import FormatError

VARINT, FIXED64, LENGTH_DELIMITED, FIXED32 = 0, 1, 2, 5
_FIXED_SIZES = {FIXED64: 8, FIXED32: 4}
_LONGEST_VARINT = 10


def _read_varint(buffer: memoryview, position: int) -> tuple[int, int]:
    value = 0
    for index in range(_LONGEST_VARINT):
        if position + index >= len(buffer):
            raise FormatError(f"the data end in the middle of a number, at byte {position}")
        byte = buffer[position + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, position + index + 1
    raise FormatError(f"byte {position} starts a number longer than any that protobuf writes")


def fields(message: memoryview) -> Iterator[tuple[int, int, int | memoryview]]:
    """The fields of one message as ``(number, wire type, value)``, in file order.

    The value is an integer for ``VARINT`` and a view of the bytes for the other types.

    Raises:
        FormatError: the bytes end within a field, or are no protobuf message at all.
    """
    position = 0
    while position < len(message):
        start = position
        tag, position = _read_varint(message, position)
        number, wire_type = tag >> 3, tag & 7
        if number == 0:
            raise FormatError(f"byte {start} starts a field with number 0: not a protobuf message")
        if wire_type == VARINT:
            value, position = _read_varint(message, position)
            yield number, wire_type, value
            continue
        if wire_type == LENGTH_DELIMITED:
            size, position = _read_varint(message, position)
        elif wire_type in _FIXED_SIZES:
            size = _FIXED_SIZES[wire_type]
        else:
            raise FormatError(f"byte {start} has wire type {wire_type}: not a protobuf message")
        if position + size > len(message):
            raise FormatError(
                f"field {number} at byte {start} should have {size} bytes, "
                f"but only {len(message) - position} are left"
            )
        yield number, wire_type, message[position : position + size]
        position += size


def varint(value: int) -> bytes:
    """A non-negative integer in protobuf's base-128 form."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append((value & 0x7F) | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def field_header(number: int, size: int) -> bytes:
    """What stands before ``size`` bytes of the length-delimited field ``number``."""
    return varint(number << 3 | LENGTH_DELIMITED) + varint(size)
