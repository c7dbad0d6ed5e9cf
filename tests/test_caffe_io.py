"""caffe.io and caffe.proto.caffe_pb2 under pycaffe's names."""

from __future__ import annotations

import numpy as np
import pytest
from bvlc import Build

import caffe
from caffe.proto import caffe_pb2
from recaffe.errors import CaffeError
from recaffe.proto import schema

ARRAY = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


# --- io -------------------------------------------------------------------------------


def test_blobproto_and_back() -> None:
    blob = caffe.io.array_to_blobproto(ARRAY)
    assert list(blob.shape.dim) == [2, 3, 4]
    assert list(blob.data) == ARRAY.ravel().tolist()
    assert not blob.diff
    array = caffe.io.blobproto_to_array(blob)
    np.testing.assert_array_equal(array, ARRAY)
    array[...] = 0  # a copy, to be written to
    assert blob.data[1] == 1


def test_blobproto_with_diff_and_of_lists() -> None:
    blob = caffe.io.array_to_blobproto(ARRAY, -ARRAY)
    assert list(blob.diff) == (-ARRAY).ravel().tolist()
    assert caffe.io.blobproto_to_array(caffe.io.array_to_blobproto([1, 2])).tolist() == [1, 2]


def test_legacy_blobproto() -> None:
    blob = caffe_pb2.BlobProto(num=1, channels=2, height=3, width=4, data=ARRAY.ravel().tolist())
    np.testing.assert_array_equal(caffe.io.blobproto_to_array(blob), ARRAY[np.newaxis])


def test_a_blobproto_that_does_not_hold_together() -> None:
    with pytest.raises(CaffeError, match="holds 6 values, found 1"):
        caffe.io.blobproto_to_array(
            caffe_pb2.BlobProto(num=1, channels=1, height=2, width=3, data=[1])
        )


@pytest.mark.parametrize("array", [ARRAY, ARRAY.astype(np.uint8)])
def test_datum_and_back(array: np.ndarray) -> None:
    datum = caffe.io.array_to_datum(array, label=3)
    assert (datum.channels, datum.height, datum.width, datum.label) == (2, 3, 4, 3)
    assert bool(datum.data) == (array.dtype == np.uint8) != bool(datum.float_data)
    back = caffe.io.datum_to_array(datum)
    np.testing.assert_array_equal(back, array)
    assert back.dtype == (np.uint8 if array.dtype == np.uint8 else np.float64)
    back[...] = 0
    assert not caffe.io.array_to_datum(array).HasField("label")


def test_a_datum_of_another_shape() -> None:
    with pytest.raises(ValueError, match=r"\(channels, height, width\), found the shape \(3, 4\)"):
        caffe.io.array_to_datum(ARRAY[0])


@pytest.mark.oracle
def test_bytes_of_blobs_and_datums_are_bvlcs(bvlc: Build) -> None:
    script = """
import caffe, numpy as np
array = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
made = {
    "blob": caffe.io.array_to_blobproto(array, -array),
    "floats": caffe.io.array_to_datum(array, 3),
    "bytes": caffe.io.array_to_datum(array.astype(np.uint8)),
}
for name, message in made.items():
    with open(name, "wb") as stream:
        stream.write(message.SerializeToString())
"""
    theirs = bvlc.python(script, fetch=["blob", "floats", "bytes"]).files
    assert caffe.io.array_to_blobproto(ARRAY, -ARRAY).SerializeToString() == theirs["blob"]
    assert caffe.io.array_to_datum(ARRAY, 3).SerializeToString() == theirs["floats"]
    as_bytes = caffe.io.array_to_datum(ARRAY.astype(np.uint8))
    assert as_bytes.SerializeToString() == theirs["bytes"]


# --- caffe_pb2 ------------------------------------------------------------------------


def test_every_message_and_enum_is_there() -> None:
    for name in schema.message_types():
        assert getattr(caffe_pb2, name) is schema.message_class(name)
    for name, descriptor in schema.enum_types().items():
        wrapper = getattr(caffe_pb2, name)
        for value in descriptor.values:
            assert wrapper.Value(value.name) == getattr(caffe_pb2, value.name) == value.number


def test_as_the_generated_module() -> None:
    assert (caffe_pb2.TRAIN, caffe_pb2.TEST, caffe_pb2.Phase.Name(1)) == (0, 1, "TEST")
    assert (caffe.TRAIN, caffe.TEST) == (caffe_pb2.TRAIN, caffe_pb2.TEST)
    assert caffe_pb2.PoolingParameter.MAX == 0
    assert caffe_pb2.V1LayerParameter.LayerType.Value("RELU") == 18
    assert caffe_pb2.DESCRIPTOR.package == "caffe"
    names: dict = {}
    exec("from caffe.proto.caffe_pb2 import *", names)
    assert names["NetParameter"] is caffe_pb2.NetParameter


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match="no message or enum 'NetParam'; see caffe"):
        _ = caffe_pb2.NetParam
    assert not hasattr(caffe_pb2, "__path__")


@pytest.mark.oracle
def test_bvlcs_module_has_no_name_that_ours_lacks(bvlc: Build) -> None:
    script = """
import json
from caffe.proto import caffe_pb2
print(json.dumps([name for name in dir(caffe_pb2) if name[0] != "_"]))
"""
    theirs = {name for name in bvlc.python(script).json() if name[:1].isupper()}
    assert {"NetParameter", "TRAIN", "Phase", "DESCRIPTOR"} <= theirs
    assert theirs <= set(dir(caffe_pb2))
