"""The fields of Datums, read without protobuf, against protobuf."""

import numpy as np

import caffe
from caffe.proto import caffe_pb2
from caffetools.datum_fields import read_fields

assert caffe  # tests/pycaffe/run.py tells by it which build answered


def fields(**values):
    return read_fields(memoryview(caffe_pb2.Datum(**values).SerializeToString()))


def refusal(value):
    try:
        read_fields(memoryview(value))
    except ValueError as error:
        return str(error)
    raise AssertionError("no ValueError")


def test_what_is_written_is_read():
    found = fields(channels=3, height=20, width=300, data=b"\0pixels", label=-7, encoded=True)
    assert found.shape == (3, 20, 300) and found.label == -7 and found.encoded
    assert bytes(found.data) == b"\0pixels" and not found.floats and not found.odd
    assert read_fields(memoryview(b"")) == ((0, 0, 0), 0, False, b"", (), ())


def test_floats_are_read_in_any_number_and_form():
    for count in (1, 2, 63, 64, 65, 200, 5000):
        values = np.random.RandomState(count).normal(size=count).astype(np.float32)
        datum = caffe_pb2.Datum(channels=1, float_data=values.tolist(), label=3)
        packed = b"\x32" + varint(4 * count) + values.tobytes()
        apart = b"".join(
            b"\x35" + value.tobytes() + (b"\x28\x03" if place % 3 == 0 else b"")
            for place, value in enumerate(values)
        )
        for value in (datum.SerializeToString(), packed + b"\x28\x03", apart):
            found = read_fields(memoryview(value))
            assert found.label == 3 and found.float_count == count
            np.testing.assert_array_equal(np.concatenate(found.floats), values)


def varint(number):
    found = b""
    while number > 127:
        found, number = found + bytes([number & 127 | 128]), number >> 7
    return found + bytes([number])


def test_fields_that_parsers_skip_or_cut_are_told():
    float_label = caffe_pb2.Datum.FromString(b"\x2d\0\0\x80\x3f")
    assert float_label.label == 0
    found = read_fields(memoryview(b"\x2d\0\0\x80\x3f\x38\x01"))
    assert found.odd == ("its label is of wire type 5, and skipped by Caffe",)
    large = b"\x28" + varint((1 << 40) + 5)
    assert caffe_pb2.Datum.FromString(large).label == 5
    found = read_fields(memoryview(large))
    assert found.label == 5 and found.odd == ("its label is beyond 32 bits, and read as 5",)
    assert read_fields(memoryview(b"\x22\x01a\x22\x02bc")).data == b"bc"


def test_what_is_no_datum_is_told():
    for value, said in [
        (b"\x22\x7fshort", "it is cut off"),
        (b"\x22" + varint(1 << 62), "it is cut off"),
        (b"\x28", "it is cut off"),
        (b"\x28" + b"\xff" * 11, "it has a number of more than ten bytes"),
        (b"\x0b", "it has a field of wire type 3"),
        (b"\0\0", "it has a field numbered 0"),
        (b"\x32\x03abc", "it has float_data that ends within a value"),
        (b"\x28\x01" * 5000, "it has more than 4096 fields"),
    ]:
        assert refusal(value) == said


def test_many_floats_are_read_at_once():
    # In a loop over them this takes a minute.
    values = np.zeros(20_000_000, [("tag", "u1"), ("value", "<f4")])
    values["tag"] = 0x35
    assert read_fields(memoryview(values.tobytes())).float_count == 20_000_000
