"""The protobuf wire format and BlobProto: bytes written out, and what is no message."""

from __future__ import annotations

import math
import struct
from typing import Any

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from recaffe.errors import FormatError
from recaffe.proto import arrays, wire
from recaffe.proto.schema import BlobProto
from recaffe.shapes import MAX_COUNT

ONE_TWO = b"\x00\x00\x80\x3f\x00\x00\x00\x40"  # 1.0, 2.0 as little-endian floats
SHAPE_1_2 = b"\x3a\x04\x0a\x02\x01\x02"  # shape { dim: 1 dim: 2 }


def decode(message: bytes) -> np.ndarray:
    return arrays.decode(memoryview(message))


def written(data: np.ndarray, diff: np.ndarray | None = None) -> bytes:
    return b"".join(arrays.encode(data, diff))


def raw(kind: int, values: bytes) -> bytes:
    """A blob as NVCaffe writes it: raw_data_type, raw_data and a shape { dim: 1 dim: 2 }."""
    encoded = wire.varint(kind & (1 << 64) - 1)
    return b"\x50" + encoded + b"\x62" + bytes([len(values)]) + values + SHAPE_1_2


# --- fields ---------------------------------------------------------------------------


def test_fields_of_every_wire_type() -> None:
    message = b"\x08\xac\x02" + b"\x15abcd" + b"\x19abcdefgh" + b"\x22\x03xyz" + b"\x2a\x00"
    read = [
        (number, kind, value if isinstance(value, int) else bytes(value))
        for number, kind, value in wire.fields(memoryview(message))
    ]
    assert read == [
        (1, wire.VARINT, 300),
        (2, wire.FIXED32, b"abcd"),
        (3, wire.FIXED64, b"abcdefgh"),
        (4, wire.LENGTH_DELIMITED, b"xyz"),
        (5, wire.LENGTH_DELIMITED, b""),
    ]
    assert b"".join(arrays.copy_field(*each) for each in read) == message  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (b"\x08", "in the middle of a number"),
        (b"\x08\x80", "in the middle of a number"),
        (b"\x08" + b"\x80" * 10 + b"\x01", "longer than any"),
        (b"\x00", "field with number 0"),
        (b"\x0e", "wire type 6"),
        (b"\x0b", "end within the group 1"),
        (b"\x0b\x08", "in the middle of a number"),
        (b"\x0c", "ends a group that did not start"),
        (b"\x0b\x14", "byte 1 ends a group that did not start"),
        (b"\x0b" * 101 + b"\x0c" * 101, "byte 100 starts a group nested too deep"),
        (b"\x80\x80\x80\x80\x10\x05", "byte 0 starts a field with number 536870912: not"),
        (b"\x88\x80\x80\x80\x80\x00\x05", "longer than any"),
        (b"\x0a\x81\x80\x80\x80\x80\x00x", "longer than any"),
        (b"\x0f", "wire type 7"),
        (b"\x0a\x02x", "field 1 at byte 0 should have 2 bytes, but only 1 are left"),
        (b"\x08\x01\x15abc", "field 2 at byte 2 should have 4 bytes, but only 3 are left"),
        (b"\x0a\xff\xff\xff\xff\x0f", "but only 0 are left"),
    ],
)
def test_what_is_no_message(message: bytes, said: str) -> None:
    with pytest.raises(FormatError, match=said):
        list(wire.fields(memoryview(message)))


def test_groups_are_passed_over() -> None:
    inner = b"\x08\x05" + b"\x0a\x02ab" + b"\x15abcd" + b"\x1b\x08\x07\x1c"
    message = b"\x08\x01" + b"\x0b" + inner + b"\x0c" + b"\x10\x02"
    assert list(wire.fields(memoryview(message))) == [(1, wire.VARINT, 1), (2, wire.VARINT, 2)]
    assert list(wire.fields(memoryview(b"\x0b" * 100 + b"\x0c" * 100))) == []


@given(st.integers(0, 2**64 - 1))
def test_varint_and_back(value: int) -> None:
    assert list(wire.fields(memoryview(b"\x08" + wire.varint(value)))) == [(1, wire.VARINT, value)]


def test_varint_golden() -> None:
    assert [wire.varint(v) for v in (0, 127, 128, 300)] == [b"\0", b"\x7f", b"\x80\1", b"\xac\2"]


# --- BlobProto, written out -----------------------------------------------------------


def test_what_we_write_is_this() -> None:
    data = np.array([[1, 2]], np.float32)
    assert written(data) == b"\x2a\x08" + ONE_TWO + SHAPE_1_2
    assert written(data, -data) == (
        b"\x2a\x08" + ONE_TWO + b"\x32\x08" + b"\0\0\x80\xbf\0\0\0\xc0" + SHAPE_1_2
    )


@pytest.mark.parametrize(
    ("message", "expected"),
    {
        "packed": (b"\x2a\x08" + ONE_TWO + SHAPE_1_2, [[1, 2]]),
        "shape first": (SHAPE_1_2 + b"\x2a\x08" + ONE_TWO, [[1, 2]]),
        "unpacked": (b"\x2d\0\0\x80\x3f\x2d\0\0\0\x40" + SHAPE_1_2, [[1, 2]]),
        "in two runs": (b"\x2a\x04\0\0\x80\x3f\x2a\x04\0\0\0\x40" + SHAPE_1_2, [[1, 2]]),
        "unpacked shape": (b"\x2a\x08" + ONE_TWO + b"\x3a\x04\x08\x01\x08\x02", [[1, 2]]),
        "legacy": (b"\x08\1\x10\1\x18\1\x20\2\x2a\x08" + ONE_TWO, [[[[1, 2]]]]),
        "legacy and shape": (
            b"\x08\1\x10\1\x18\1\x20\2\x2a\x08" + ONE_TWO + SHAPE_1_2,
            [[[[1, 2]]]],
        ),
        "with a diff": (b"\x2a\x08" + ONE_TWO + b"\x32\x08" + b"\xff" * 8 + SHAPE_1_2, [[1, 2]]),
        "doubles": (b"\x42\x10" + struct.pack("<2d", 1, 2) + SHAPE_1_2, [[1, 2]]),
        "unpacked doubles": (
            b"\x41" + struct.pack("<d", 1) + b"\x41" + struct.pack("<d", 2) + SHAPE_1_2,
            [[1, 2]],
        ),
        "double diff": (
            b"\x2a\x08" + ONE_TWO + b"\x4a\x10" + struct.pack("<2d", 8, 9) + SHAPE_1_2,
            [[1, 2]],
        ),
        "doubles win": (
            b"\x2a\x08" + ONE_TWO + b"\x42\x10" + struct.pack("<2d", 8, 9) + SHAPE_1_2,
            [[8, 9]],
        ),
        "unknown fields": (b"\xf8\x07\x05" + b"\x2a\x08" + ONE_TWO + SHAPE_1_2, [[1, 2]]),
        "a shape in two": (b"\x2a\x08" + ONE_TWO + b"\x3a\x02\x08\x01\x3a\x02\x08\x02", [[1, 2]]),
        "diffs in double": (
            b"\x2a\x08" + ONE_TWO + b"\x32\x04abcd" + b"\x4a\x10" + b"\0" * 16 + SHAPE_1_2,
            [[1, 2]],
        ),
        "values of another wire type": (b"\x28\x05" + b"\x2a\x08" + ONE_TWO + SHAPE_1_2, [[1, 2]]),
        "raw doubles": (raw(0, struct.pack("<2d", 1, 2)), [[1, 2]]),
        "raw floats": (raw(1, ONE_TWO), [[1, 2]]),
        "raw halves": (raw(2, struct.pack("<2e", 1.5, -2)), [[1.5, -2]]),
        "raw integers": (raw(3, struct.pack("<2i", 1, -2)), [[1, -2]]),
        "raw unsigned integers": (raw(4, struct.pack("<2I", 1, 2**32 - 1)), [[1, 2**32 - 1]]),
        "raw bools": (raw(5, b"\x00\x07"), [[0, 1]]),
        "raw and diff": (raw(1, ONE_TWO) + b"\x58\x01\x6a\x08" + b"\0" * 8, [[1, 2]]),
        "raw and data": (raw(1, b"\0" * 8) + b"\x2a\x08" + ONE_TWO, [[1, 2]]),
        "raw, of no length": (b"\x50\x02\x62\x00" + b"\x3a\x04\x0a\x02\x00\x02", np.zeros((0, 2))),
        "scalar": (b"\x2a\x04\0\0\x80\x3f\x3a\x00", 1),
        "no values": (b"\x3a\x04\x0a\x02\x00\x02", np.zeros((0, 2))),
    }.values(),
    ids=lambda value: None,
)
def test_forms_of_a_blob(message: bytes, expected: Any) -> None:
    found = decode(message)
    assert found.shape == np.shape(expected)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (b"", "shape \\[\\] holds 1 values, found 0"),
        (b"\x2a\x08" + ONE_TWO + b"\x3a\x04\x0a\x02\x01\x03", "\\[1, 3\\] holds 3 values, found 2"),
        (b"\x2a\x08" + ONE_TWO, "holds 1 values, found 2"),
        (b"\x2a\x07" + ONE_TWO[:7] + SHAPE_1_2, "7 bytes of values are not whole float32s"),
        (b"\x42\x07" + ONE_TWO[:7] + SHAPE_1_2, "7 bytes of values are not whole float64s"),
        # num: -1, channels: -2
        (b"\x08" + b"\xff" * 9 + b"\1\x10\xfe" + b"\xff" * 8 + b"\1\x18\1\x20\1", "\\[-1, -2, 1,"),
        (b"\x2a\x08" + ONE_TWO + b"\x3a\x0b\x08" + b"\xff" * 9 + b"\1", "the shape \\[-1\\]"),
        (b"\x3a\x0a\x0a\x08" + b"\x80\x80\x80\x08" * 2, "cannot have the shape"),
        # a shape that is no BlobShape: field number 0
        (b"\x2a\x08" + ONE_TWO + b"\x3a\x01\x00", "byte 0 starts a field with number 0"),
        (b"\x3a\x23\x0a\x21" + b"\1" * 33, "a blob has 33 axes, more than 32"),
        (SHAPE_1_2 + b"\x2a\x08" + ONE_TWO + b"\x32\x04\0\0\0\0", "holds 2 diffs, found 1"),
        (b"\x3a\x0d\x0a\x0b\x00" + b"\xff" * 9 + b"\0", "cannot have the shape"),
        (raw(7, b"\0" * 2), "raw values of the type 7; known are 0 to 5"),
        (raw(-1, b"\0" * 2), "raw values of the type -1"),
        (b"\x62\x08" + ONE_TWO + SHAPE_1_2, "raw values of the type None"),
        (raw(1, ONE_TWO[:7]), "7 bytes of raw values are not whole float32s"),
        (raw(2, ONE_TWO), r"\[1, 2\] holds 2 values, found 4"),
    ],
)
def test_blobs_that_do_not_hold_together(message: bytes, said: str) -> None:
    with pytest.raises(FormatError, match=said):
        decode(message)


def test_every_cut_of_a_blob_is_told() -> None:
    message = written(np.array([[1, 2]], np.float32), np.zeros((1, 2), np.float32))
    for size in range(len(message)):
        with pytest.raises(FormatError):
            decode(message[:size])


# --- and by protobuf ------------------------------------------------------------------

shapes = st.lists(st.integers(0, 4), max_size=5).map(tuple)


@given(shapes, st.booleans(), st.integers(0, 9))
def test_protobuf_reads_what_we_write(shape: tuple[int, ...], with_diff: bool, seed: int) -> None:
    data = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    blob = BlobProto.FromString(written(data, 2 * data if with_diff else None))
    assert tuple(blob.shape.dim) == shape
    assert list(blob.data) == data.ravel().tolist()
    assert list(blob.diff) == ((2 * data).ravel().tolist() if with_diff else [])
    np.testing.assert_array_equal(decode(blob.SerializeToString()), data)


def test_arrays_of_any_layout_are_written_in_c_order() -> None:
    data = np.arange(24, dtype=np.float64).reshape(2, 3, 4)
    for array in (data.transpose(2, 0, 1), data[:, ::2, ::-1], np.asfortranarray(data)):
        np.testing.assert_array_equal(decode(written(array)), array)


@given(st.binary(max_size=60))
def test_random_bytes_are_read_as_protobuf_reads_them(message: bytes) -> None:
    try:
        found = decode(message)
    except FormatError:
        return
    try:
        blob = BlobProto.FromString(message)
    except DecodeError:
        return  # protobuf checks fields that are skipped here
    values = list(blob.double_data or blob.data)
    if values or b"\x62" not in message:  # the tag of raw values, which protobuf skips
        np.testing.assert_array_equal(found.ravel(), values)


pieces_of_a_blob = st.one_of(
    st.sampled_from([SHAPE_1_2, b"\x2a\x08" + ONE_TWO, b"\x2d\0\0\x80\x3f", b"\x08\1\x10\1"]),
    st.binary(max_size=4),
    st.integers(0, 127).map(lambda tag: bytes([tag, 1, 2])),
)


@given(st.lists(pieces_of_a_blob, max_size=6).map(b"".join))
def test_bytes_near_a_blob_are_read_as_protobuf_reads_them(message: bytes) -> None:
    test_random_bytes_are_read_as_protobuf_reads_them.hypothesis.inner_test(message)


# --- large arrays ---------------------------------------------------------------------


def test_values_are_not_copied() -> None:
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    message = written(values)
    assert np.shares_memory(decode(message), np.frombuffer(message, np.uint8))
    header, raw, *_ = arrays.encode(values)
    assert len(header) == 2
    assert np.shares_memory(np.frombuffer(raw, np.uint8), values)


# --- old shapes -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "expected", "legacy", "equal"),
    [
        ((2, 3), (2, 3), False, True),
        ((4, 3, 5, 5), (4, 3, 5, 5), False, True),
        ((4, 3, 5, 5), (4, 3, 5, 5), True, True),
        ((1, 1, 2, 3), (2, 3), True, True),
        ((1, 1, 1, 3), (3,), True, True),
        ((1, 1, 1, 1), (), True, True),
        # As BlobShape tells it, a shape is what it says.
        ((1, 1, 2, 3), (2, 3), False, False),
        ((1, 1, 1, 1), (), False, False),
        ((2, 3, 1, 1), (2, 3), True, False),
        ((1, 2, 1, 3), (2, 3), True, False),
        ((1, 2, 3), (2, 3), False, False),
        ((1, 1, 2, 3), (1, 1, 1, 2, 3), True, False),
        ((3, 2), (2, 3), False, False),
    ],
)
def test_which_shapes_fit(
    found: tuple[int, ...], expected: tuple[int, ...], legacy: bool, equal: bool
) -> None:
    assert arrays.shape_fits(found, legacy, expected) is equal


def test_the_bound_on_a_blob_is_caffes() -> None:
    assert MAX_COUNT == 2**31 - 1
    with pytest.raises(FormatError, match="cannot have the shape"):
        decode(b"\x3a\x09\x0a\x07" + b"\x80\x80\x02" + wire.varint(2**16 + 1) + b"\x01")
    assert math.prod((2**15, 2**16 + 1)) > MAX_COUNT
