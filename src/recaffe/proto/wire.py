"""The protobuf wire format, as far as reading and writing large arrays needs it.

protobuf's Python classes hand out repeated floats one Python object at a time, which for
the 61 million weights of CaffeNet takes seconds and gigabytes. So the outer messages of
weight files are walked here, and arrays are taken as views of the file's bytes.

Source: the encoding chapter of the Protocol Buffers documentation.
"""

from __future__ import annotations

from collections.abc import Iterator

from recaffe.errors import FormatError

VARINT, FIXED64, LENGTH_DELIMITED, START_GROUP, END_GROUP, FIXED32 = range(6)
_FIXED_SIZES = {FIXED64: 8, FIXED32: 4}
# Numbers take ten bytes at most, tags and lengths five.
_LONGEST_VARINT, _LONGEST_LENGTH = 10, 5
_TAGS = 1 << 32
# So deep may groups be nested, in Caffe's reader too.
_DEEPEST_GROUP = 100


def read_varint(
    buffer: memoryview, position: int, longest: int = _LONGEST_VARINT
) -> tuple[int, int]:
    """The number that starts at ``position``, and the position behind it."""
    value = 0
    for index in range(longest):
        if position + index >= len(buffer):
            raise FormatError(f"the data end in the middle of a number, at byte {position}")
        byte = buffer[position + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, position + index + 1
    raise FormatError(f"byte {position} starts a number longer than any that protobuf writes")


def fields(message: memoryview) -> Iterator[tuple[int, int, int | memoryview]]:
    """The fields of one message as ``(number, wire type, value)``, in file order.

    The value is an integer for ``VARINT`` and a view of the bytes for the other types. Groups,
    which no message of Caffe's has, are passed over.

    Raises:
        FormatError: the bytes end within a field, or are no protobuf message at all.
    """
    position = 0
    groups: list[int] = []
    while position < len(message):
        start = position
        number, wire_type, position = _read_tag(message, position)
        value: int | memoryview = 0
        if wire_type == VARINT:
            value, position = read_varint(message, position)
        elif wire_type == START_GROUP:
            groups.append(number)
            if len(groups) > _DEEPEST_GROUP:
                raise FormatError(f"byte {start} starts a group nested too deep")
            continue
        elif wire_type == END_GROUP:
            if not groups or groups.pop() != number:
                raise FormatError(f"byte {start} ends a group that did not start")
            continue
        else:
            if wire_type == LENGTH_DELIMITED:
                size, position = read_varint(message, position, _LONGEST_LENGTH)
            else:
                size = _FIXED_SIZES[wire_type]
            if position + size > len(message):
                raise FormatError(
                    f"field {number} at byte {start} should have {size} bytes, "
                    f"but only {len(message) - position} are left"
                )
            value = message[position : position + size]
            position += size
        if not groups:
            yield number, wire_type, value
    if groups:
        raise FormatError(f"the data end within the group {groups[-1]}")


def _read_tag(message: memoryview, start: int) -> tuple[int, int, int]:
    """A field's number and wire type, and the position behind them."""
    tag, position = read_varint(message, start, _LONGEST_LENGTH)
    number, wire_type = tag >> 3, tag & 7
    if number == 0 or tag >= _TAGS:
        raise FormatError(
            f"byte {start} starts a field with number {number}: not a protobuf message"
        )
    if wire_type > FIXED32:
        raise FormatError(f"byte {start} has wire type {wire_type}: not a protobuf message")
    return number, wire_type, position


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
