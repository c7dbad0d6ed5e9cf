"""The mean image: by hand, its file, what is refused, and against compute_image_mean."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import bvlc as bvlc_build
import cv2
import lmdb
import numpy as np
import pytest

from caffe.proto import caffe_pb2
from caffetools import databases, mean
from caffetools.cli import ToolError
from caffetools.datums import datum_bytes


def database(folder: Path, values: Sequence[bytes]) -> Path:
    """An LMDB with ``values`` under ascending keys."""
    path = folder / "db"
    with lmdb.open(str(path)) as environment, environment.begin(write=True) as transaction:
        for index, value in enumerate(values):
            transaction.put(b"%08d_a b.png" % index, value)
    return path


def noise(count: int, shape: tuple[int, int, int]) -> np.ndarray:
    return np.random.RandomState(0).randint(0, 256, (count, *shape)).astype(np.uint8)


def test_mean_is_exact_and_in_blob_order(tmp_path: Path) -> None:
    images = noise(7, (5, 4, 3))
    path = database(tmp_path, [datum_bytes(image, 0) for image in images])
    mean.main(["--lmdb", str(path), "--output", str(tmp_path / "mean.binaryproto")])
    blob = caffe_pb2.BlobProto.FromString((tmp_path / "mean.binaryproto").read_bytes())
    assert (blob.num, blob.channels, blob.height, blob.width) == (1, 3, 5, 4)
    assert not blob.HasField("shape")
    sums = images.astype(int).sum(axis=0).transpose(2, 0, 1)
    expected = sums.astype(np.float32) / np.float32(7)
    np.testing.assert_array_equal(np.array(blob.data, np.float32), expected.ravel())


def test_mean_is_exact_beyond_what_float32_sums_hold(tmp_path: Path) -> None:
    """Of 70,000 images, whose sums pass 2 ** 24, where float32 knows no odd numbers."""
    values = np.full(70_000, 255, np.uint8)
    values[::7] = 250
    path = tmp_path / "db"
    environment = lmdb.open(str(path), map_size=1 << 24)
    with environment, environment.begin(write=True) as transaction:
        for index, value in enumerate(values):
            image = np.full((1, 1, 1), value, np.uint8)
            transaction.put(b"%08d" % index, datum_bytes(image, 0), append=True)
    expected = np.float32(int(values.sum(dtype=np.int64)) / len(values))
    assert mean.mean(path).item() == expected


def test_encoded_and_float_records_count_as_well(tmp_path: Path) -> None:
    images = noise(3, (4, 6, 3))
    png = cv2.imencode(".png", images[1])[1].tobytes()
    floats = images[2].transpose(2, 0, 1).ravel() + 0.5
    values = [
        datum_bytes(images[0], 0),
        caffe_pb2.Datum(data=png, encoded=True).SerializeToString(),
        caffe_pb2.Datum(channels=3, height=4, width=6, float_data=floats).SerializeToString(),
    ]
    expected = (images.astype(float).sum(axis=0) + 0.5) / 3
    found = mean.mean(database(tmp_path, values))
    np.testing.assert_array_equal(found, expected.transpose(2, 0, 1).astype(np.float32))


# --- what is refused --------------------------------------------------------------------


def encoded(image: np.ndarray) -> bytes:
    png = cv2.imencode(".png", image)[1].tobytes()
    return caffe_pb2.Datum(data=png, encoded=True).SerializeToString()


GOOD = datum_bytes(np.zeros((4, 6, 3), np.uint8), 0)


def test_shapes_that_differ(tmp_path: Path) -> None:
    other = datum_bytes(np.zeros((6, 4, 3), np.uint8), 0)
    with pytest.raises(ToolError) as caught:
        mean.mean(database(tmp_path, [GOOD, other]))
    message = "record '00000001_a b.png': expected the first record's shape"
    assert message in str(caught.value)
    assert "(3, 4, 6), found (3, 6, 4)" in str(caught.value)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (b"\xff\xff", "no Datum"),
        (b"", "has no data"),
        (GOOD[:-40], "no Datum"),
        (
            caffe_pb2.Datum(channels=3, height=4, width=6, data=b"123").SerializeToString(),
            "3 bytes of data",
        ),
        (caffe_pb2.Datum(encoded=True, data=b"no image").SerializeToString(), "cannot be decoded"),
        (caffe_pb2.Datum(encoded=True).SerializeToString(), "is encoded, and has no data"),
        (encoded(np.zeros((14_000, 13_000), np.uint8)), "more than 178956970 pixels"),
        (encoded(np.zeros((4, 6), np.uint16)), "values of type uint16, and Caffe takes 8 bits"),
    ],
)
def test_records_that_hold_no_image(tmp_path: Path, value: bytes, message: str) -> None:
    with pytest.raises(ToolError, match=f"record '00000001_a b.png': .*{message}"):
        mean.mean(database(tmp_path, [GOOD, value]))


def test_folders_that_are_no_lmdb(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match=r"found no data\.mdb"):
        mean.mean(tmp_path / "no")
    with pytest.raises(ToolError, match="found an empty database"):
        mean.mean(database(tmp_path, []))
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/data.mdb").write_bytes(b"no database" * 1000)
    output = tmp_path / "mean.binaryproto"
    with pytest.raises(ToolError, match="cannot be read"):
        mean.main(["--lmdb", str(tmp_path / "broken"), "--output", str(output)])
    assert not output.exists()


# --- BVLC's build as the judge ----------------------------------------------------------

READ = """
import numpy, caffe
net = caffe.Net("net.prototxt", caffe.TEST)
net.forward()
numpy.save("out.npy", net.blobs["data"].data)
"""
NET = """
layer {
  name: "data" type: "Data" top: "data" top: "label"
  transform_param { mean_file: "mean.binaryproto" }
  data_param { source: "db" batch_size: 11 backend: LMDB }
}
"""


@pytest.mark.oracle
@pytest.mark.parametrize("channels", [1, 3])
def test_file_is_that_of_compute_image_mean(
    tmp_path: Path, bvlc: bvlc_build.Build, channels: int
) -> None:
    images = noise(11, (13, 9, channels))
    made = ((b"%08d_x" % i, datum_bytes(image, i)) for i, image in enumerate(images))
    (tmp_path / "db").mkdir()
    databases.write(tmp_path / "db", made)
    ours = tmp_path / "mean.binaryproto"
    mean.main(["--lmdb", str(tmp_path / "db"), "--output", str(ours)])
    files = {"db": tmp_path / "db", "mean.binaryproto": ours, "net.prototxt": NET}
    with bvlc.workplace(files) as place:
        place.run(["compute_image_mean", "db", "theirs"])
        assert ours.read_bytes() == (place.path / "theirs").read_bytes()
        place.python(READ)
        data = np.load(place.path / "out.npy")
    planes = images.transpose(0, 3, 1, 2).astype(np.float32)
    np.testing.assert_array_equal(data, planes - mean.mean(tmp_path / "db"))
