"""The transformer against a naive reference; datums, and what does not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from bvlc import Build

import caffe
from caffe.proto import caffe_pb2
from recaffe.data import datum
from recaffe.data.transformer import Transformer
from recaffe.errors import DataError, FormatError
from recaffe.files import write_whole

IMAGE = np.random.default_rng(0).integers(0, 256, (3, 7, 9), dtype=np.uint8)
MEAN = np.random.default_rng(1).uniform(0, 256, IMAGE.shape).astype(np.float32)


def transformer(phase: int = caffe.TEST, seed: int = 0, **parameter: Any) -> Transformer:
    return Transformer(caffe_pb2.TransformationParameter(**parameter), phase, seed, "data")


def transformed(by: Transformer, image: np.ndarray = IMAGE) -> np.ndarray:
    out = np.full(by.output_shape(image.shape), np.nan, np.float32)
    by.transform(image, out)
    return out


def naive(
    image: np.ndarray,
    crop: int = 0,
    offset: tuple[int, int] = (0, 0),
    mean: np.ndarray | None = None,
    scale: float = 1,
    mirrored: bool = False,
) -> np.ndarray:
    """Caffe's definition, element by element; ``mean`` is an image."""
    channels, height, width = image.shape
    height, width = (crop, crop) if crop else (height, width)
    out = np.zeros((channels, height, width), np.float32)
    for c, y, x in np.ndindex(out.shape):
        source = (c, y + offset[0], x + offset[1])
        value = np.float32(image[source]) - (0 if mean is None else mean[source])
        out[c, y, width - 1 - x if mirrored else x] = value * np.float32(scale)
    return out


@pytest.fixture
def mean_file(tmp_path: Path) -> str:
    path = tmp_path / "mean.binaryproto"
    blob = caffe_pb2.BlobProto(num=1, channels=3, height=7, width=9, data=MEAN.ravel().tolist())
    write_whole(path, [blob.SerializeToString()])
    return str(path)


# --- TEST: nothing at random ----------------------------------------------------------


def test_nothing_to_do_but_floats() -> None:
    np.testing.assert_array_equal(transformed(transformer()), IMAGE.astype(np.float32), strict=True)


@pytest.mark.parametrize(("crop", "offset"), [(4, (1, 2)), (5, (1, 2)), (7, (0, 1)), (1, (3, 4))])
def test_a_crop_in_the_middle(crop: int, offset: tuple[int, int], mean_file: str) -> None:
    by = transformer(crop_size=crop, mean_file=mean_file, scale=0.5)
    np.testing.assert_array_equal(transformed(by), naive(IMAGE, crop, offset, MEAN, 0.5))
    plain = transformer(crop_size=crop)
    np.testing.assert_array_equal(transformed(plain), naive(IMAGE, crop, offset))


def test_mean_file_then_scale(mean_file: str) -> None:
    by = transformer(mean_file=mean_file, scale=1 / 256)
    np.testing.assert_array_equal(transformed(by), naive(IMAGE, mean=MEAN, scale=1 / 256))


@pytest.mark.parametrize("means", [[104.0, 117.0, 123.5], [100.25]])
def test_mean_values(means: list[float]) -> None:
    by = transformer(mean_value=means, scale=2, crop_size=3)
    spread = np.empty_like(MEAN)
    spread[...] = np.array(means, np.float32).reshape(-1, 1, 1)
    np.testing.assert_array_equal(transformed(by), naive(IMAGE, 3, (2, 3), spread, 2))


def test_float_images(mean_file: str) -> None:
    image = IMAGE.astype(np.float32) / 3
    by = transformer(mean_file=mean_file, scale=3)
    np.testing.assert_array_equal(transformed(by, image), naive(image, mean=MEAN, scale=3))


def test_a_mean_file_of_three_axes(tmp_path: Path) -> None:
    blob = caffe_pb2.BlobProto(data=MEAN.ravel().tolist())
    blob.shape.dim.extend(MEAN.shape)
    (tmp_path / "mean").write_bytes(blob.SerializeToString())
    by = transformer(mean_file=str(tmp_path / "mean"))
    np.testing.assert_array_equal(transformed(by), naive(IMAGE, mean=MEAN))


THREE_AXES = """
import os
import caffe
with open("net", "w") as stream:
    stream.write('''layer { name: "d" type: "ImageData" top: "d" top: "l"
      transform_param { mean_file: "mean" }
      image_data_param { source: "list" batch_size: 1 } }''')
child = os.fork()
if child == 0:
    os.dup2(os.open("/dev/null", os.O_WRONLY), 2)
    caffe.Net("net", caffe.TEST).forward()
    os._exit(0)
print(os.waitpid(child, 0)[1])
"""


@pytest.mark.oracle
def test_bvlc_aborts_on_a_mean_file_of_three_axes(bvlc: Build) -> None:
    """It takes the height for the channels. The images are black."""
    files = {"list": "i.ppm 0\n", "i.ppm": b"P6 5 4 255\n" + bytes(60)}
    for shape, status in (([1, 3, 4, 5], 0), ([3, 4, 5], 6)):
        mean = caffe_pb2.BlobProto(data=[1] * 60)
        mean.shape.dim.extend(shape)
        files["mean"] = mean.SerializeToString()
        assert bvlc.python(THREE_AXES, files=files).json() == status


# --- at random ------------------------------------------------------------------------


@pytest.mark.parametrize("phase", [caffe.TRAIN, caffe.TEST])
def test_mirror(phase: int, mean_file: str) -> None:
    by = transformer(phase, mirror=True, mean_file=mean_file, scale=0.5)
    straight = naive(IMAGE, mean=MEAN, scale=0.5)
    mirrored = naive(IMAGE, mean=MEAN, scale=0.5, mirrored=True)
    seen = [transformed(by) for _ in range(200)]
    count = sum(np.array_equal(each, mirrored) for each in seen)
    assert count + sum(np.array_equal(each, straight) for each in seen) == 200
    assert 70 < count < 130


def test_random_crops_come_from_everywhere_and_take_the_mean_along(mean_file: str) -> None:
    by = transformer(caffe.TRAIN, crop_size=5, mirror=True, mean_file=mean_file)
    possible = {
        naive(IMAGE, 5, (row, column), MEAN, mirrored=mirrored).tobytes()
        for row in range(3)
        for column in range(5)
        for mirrored in (False, True)
    }
    assert len(possible) == 30
    assert {transformed(by).tobytes() for _ in range(500)} == possible


def test_the_seed_decides() -> None:
    def crops(seed: int) -> list[bytes]:
        by = transformer(caffe.TRAIN, seed, crop_size=3, mirror=True)
        return [transformed(by).tobytes() for _ in range(20)]

    assert crops(1) == crops(1)
    assert crops(1) != crops(2)


# --- what does not fit ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameter", "said"),
    [
        ({"mean_value": [1], "mean_file": "m"}, "set mean_file or mean_value, not both"),
        ({"force_color": True, "force_gray": True}, "force_color or force_gray, not both"),
    ],
)
def test_parameters_that_exclude_each_other(parameter: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError, match=f"^layer 'data': .*{said}"):
        transformer(**parameter)


def test_images_that_do_not_fit(mean_file: str) -> None:
    with pytest.raises(DataError, match="crop_size 8 is larger than the images, 7x9"):
        transformer(crop_size=8).output_shape(IMAGE.shape)
    with pytest.raises(DataError, match="2 mean_value for images of 3 channels"):
        transformer(mean_value=[1, 2]).output_shape(IMAGE.shape)
    with pytest.raises(DataError, match=r"\(3, 7, 9\), the images have \(3, 9, 7\)"):
        transformer(mean_file=mean_file).output_shape((3, 9, 7))


def test_mean_files_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "mean"
    with pytest.raises(FormatError, match="mean: no such file"):
        transformer(mean_file=str(path))
    path.write_bytes(b"rubbish")
    with pytest.raises(FormatError, match="mean: not a whole BlobProto"):
        transformer(mean_file=str(path))
    two = caffe_pb2.BlobProto(num=2, channels=1, height=1, width=1, data=[1, 2])
    path.write_bytes(two.SerializeToString())
    with pytest.raises(DataError, match=r"shape \[2, 1, 1, 1\], expected one image"):
        transformer(mean_file=str(path))
    flat = caffe_pb2.BlobProto(data=[1, 2])
    flat.shape.dim.append(2)
    path.write_bytes(flat.SerializeToString())
    with pytest.raises(DataError, match=r"shape \[2\], expected one image"):
        transformer(mean_file=str(path))


# --- datums ---------------------------------------------------------------------------


def to_array(record: Any, color: bool | None = None) -> np.ndarray:
    return datum.to_array(datum.parse(record.SerializeToString(), "here"), "here", color)


def test_bytes_and_floats() -> None:
    raw = caffe_pb2.Datum(channels=3, height=7, width=9, data=IMAGE.tobytes())
    np.testing.assert_array_equal(to_array(raw), IMAGE, strict=True)
    floats = MEAN.ravel().tolist()
    of_floats = caffe_pb2.Datum(channels=3, height=7, width=9, float_data=floats)
    np.testing.assert_array_equal(to_array(of_floats), MEAN, strict=True)


def png(image: np.ndarray, extension: str = ".png") -> Any:
    """A Datum as ``convert_imageset --encoded`` writes it; ``image`` is (H, W[, BGR])."""
    return caffe_pb2.Datum(data=cv2.imencode(extension, image)[1].tobytes(), encoded=True)


def test_encoded_images() -> None:
    bgr = IMAGE.transpose(1, 2, 0)
    gray = cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY)
    np.testing.assert_array_equal(to_array(png(bgr)), IMAGE)
    np.testing.assert_array_equal(to_array(png(bgr), color=True), IMAGE)
    np.testing.assert_array_equal(to_array(png(gray)), gray[np.newaxis])
    np.testing.assert_array_equal(to_array(png(gray), color=False), gray[np.newaxis])
    np.testing.assert_array_equal(to_array(png(gray), color=True), np.stack([gray] * 3))
    assert to_array(png(bgr), color=False).shape == (1, 7, 9)
    decoded = cv2.imdecode(cv2.imencode(".jpg", bgr)[1], cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(to_array(png(bgr, ".jpg")), decoded.transpose(2, 0, 1))


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (caffe_pb2.Datum(channels=1, height=2, width=2, data=b"123"), "cannot hold 3 values"),
        (caffe_pb2.Datum(channels=-1, height=-1, width=3, data=b"123"), "cannot hold 3 values"),
        (caffe_pb2.Datum(label=3), r"a datum of \(0, 0, 0\) cannot hold 0 values"),
        (caffe_pb2.Datum(encoded=True), "does not decode"),
        (caffe_pb2.Datum(encoded=True, data=b"GIF?"), "does not decode"),
        (png(IMAGE[0].astype(np.uint16) * 256), "has uint16 values, expected 8-bit"),
        (
            # a PNG's start that promises 2^31-1 rows and columns
            caffe_pb2.Datum(
                encoded=True,
                data=b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\x7f\xff\xff\xff\x7f\xff\xff\xff\x08\0\0\0\0"
                b"\x46\x9c\x4e\x2c",
            ),
            "does not decode",
        ),
    ],
)
def test_datums_that_cannot_be_used(record: Any, said: str) -> None:
    with pytest.raises(DataError, match=f"^here: .*{said}"):
        to_array(record)


def test_what_is_no_datum() -> None:
    with pytest.raises(DataError, match="here: expected a Datum"):
        datum.parse(b"\x0a", "here")
