"""Images in Datums, and Datums in LMDBs."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from recipes import write_lmdb

from caffe.proto import caffe_pb2
from caffetools import databases
from caffetools.cli import ToolError
from caffetools.datums import datum_image, read_datums
from caffetools.spread import spread


def test_raw_and_encoded_datums_give_the_same_pixels() -> None:
    colour = np.random.default_rng(0).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    for image in (colour, colour[:, :, 0]):
        planes = np.atleast_3d(image).transpose(2, 0, 1)
        raw = caffe_pb2.Datum(
            channels=len(planes), height=4, width=5, data=planes.tobytes(), label=1
        )
        png = cv2.imencode(".png", image)[1].tobytes()
        encoded = caffe_pb2.Datum(data=png, encoded=True)
        expected = image[:, :, ::-1] if image.ndim == 3 else image
        np.testing.assert_array_equal(datum_image(raw), expected)
        np.testing.assert_array_equal(datum_image(encoded), expected)


def test_encoded_datum_that_does_not_decode_is_named() -> None:
    with pytest.raises(ToolError, match="its image cannot be decoded as an image"):
        datum_image(caffe_pb2.Datum(data=b"abc", encoded=True))


@pytest.mark.parametrize(("channels", "planes"), [(2, [0]), (4, [2, 1, 0]), (5, [0])])
def test_other_numbers_of_channels_are_shown_in_part(channels: int, planes: list[int]) -> None:
    values = np.arange(channels * 6, dtype=np.uint8).reshape(channels, 2, 3)
    datum = caffe_pb2.Datum(channels=channels, height=2, width=3, data=values.tobytes())
    expected = values[planes].transpose(1, 2, 0)
    np.testing.assert_array_equal(np.atleast_3d(datum_image(datum)), expected)


@pytest.mark.parametrize("channels", [-1, 0, 3, 1 << 30])
def test_a_datum_whose_values_do_not_fit_its_shape_is_named(channels: int) -> None:
    with pytest.raises(ToolError, match="it has 4 bytes of data, and its shape"):
        datum_image(caffe_pb2.Datum(channels=channels, height=2, width=2, data=b"abcd"))


def test_datums_are_read_by_place(tmp_path: Path) -> None:
    write_lmdb(tmp_path, np.arange(5, dtype=np.uint8).reshape(5, 1, 1, 1), np.arange(5))
    assert [datum.label for datum in read_datums(tmp_path, [4, 0, 2])] == [4, 0, 2]
    assert databases.lmdb_entries(tmp_path) == 5
    for beyond in (5, -1):
        with pytest.raises(ToolError, match=f"it has 5 entries, .* entry {beyond} is asked for"):
            read_datums(tmp_path, [0, beyond])


def test_what_is_no_lmdb_of_datums_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match=r"expected an LMDB, found no data\.mdb"):
        read_datums(tmp_path, [0])
    databases.write(tmp_path, [(b"0", b"\x0anot a Datum")])
    with pytest.raises(ToolError, match="expected Datums, found other records"):
        read_datums(tmp_path, [0])


def test_items_are_spread_evenly() -> None:
    assert spread(range(10), 3) == [0, 3, 6]
    assert spread("ab", 5) == ["a", "b"]
