"""What BVLC's convert_imageset and compute_image_mean write, byte for byte."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import lmdb
import numpy as np
import pytest
from bvlc import Build, Workplace

from recaffe.proto.schema import BlobProto, Datum

pytestmark = pytest.mark.oracle


@pytest.fixture(scope="module")
def pictures() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    shapes = {"a.png": (20, 30, 3), "sub/a b.png": (8, 8), "with alpha.png": (10, 12, 4)}
    return {name: rng.integers(0, 256, shape, np.uint8) for name, shape in shapes.items()}


@pytest.fixture
def place(bvlc: Build, pictures: dict[str, np.ndarray]) -> Iterator[Workplace]:
    with bvlc.workplace() as place:
        for name, picture in pictures.items():
            place.put(f"images/{name}", cv2.imencode(".png", picture)[1].tobytes())
        place.put("list", "a.png 3\nsub/a b.png 7\nmissing.png 1\nwith alpha.png 0\n")
        yield place


def entries(folder: Path) -> dict[bytes, bytes]:
    with lmdb.open(str(folder), readonly=True, lock=False) as database, database.begin() as view:
        return dict(view.cursor())


def convert(place: Workplace, *options: str) -> dict[bytes, bytes]:
    place.run(["convert_imageset", *options, "images/", "list", "db"])
    return entries(place.path / "db")


def read(place: Workplace, name: str, flag: int) -> np.ndarray:
    return cv2.imread(str(place.path / "images" / name), flag)


def test_keys_number_the_lines_and_an_unreadable_image_leaves_a_gap(place: Workplace) -> None:
    keys = [b"00000000_a.png", b"00000001_sub/a b.png", b"00000003_with alpha.png"]
    assert list(convert(place)) == keys


def test_bytes_of_a_record(place: Workplace) -> None:
    """Field by field: channels, height, width, data, label, and `encoded` although false."""
    value = convert(place, "--gray")[b"00000001_sub/a b.png"]
    pixels = read(place, "sub/a b.png", cv2.IMREAD_GRAYSCALE).tobytes()
    assert value == b"\x08\x01\x10\x08\x18\x08\x22\x40" + pixels + b"\x28\x07\x38\x00"


@pytest.mark.parametrize(
    ("options", "flag"), [((), cv2.IMREAD_COLOR), (("--gray",), cv2.IMREAD_GRAYSCALE)]
)
def test_pixels_are_planes_in_opencvs_order(
    place: Workplace, pictures: dict[str, np.ndarray], options: tuple[str, ...], flag: int
) -> None:
    records = [Datum.FromString(value) for value in convert(place, *options).values()]
    assert [record.label for record in records] == [3, 7, 0]
    for record, name in zip(records, pictures, strict=True):
        pixels = np.atleast_3d(read(place, name, flag)).transpose(2, 0, 1)
        assert (record.channels, record.height, record.width) == pixels.shape
        assert record.data == pixels.tobytes()


@pytest.mark.parametrize(
    ("options", "flag"), [((), cv2.IMREAD_COLOR), (("--gray",), cv2.IMREAD_GRAYSCALE)]
)
def test_resizing_is_opencvs_bilinear(
    place: Workplace, pictures: dict[str, np.ndarray], options: tuple[str, ...], flag: int
) -> None:
    values = convert(place, "--resize_width=15", "--resize_height=13", *options).values()
    for value, name in zip(values, pictures, strict=True):
        picture = cv2.resize(read(place, name, flag), (15, 13), interpolation=cv2.INTER_LINEAR)
        pixels = np.atleast_3d(picture).transpose(2, 0, 1)
        assert Datum.FromString(value).data == pixels.tobytes()


def test_shuffling_comes_before_numbering(place: Workplace) -> None:
    keys = list(convert(place, "--shuffle"))
    numbers = [int(key[:8]) for key in keys]
    assert len(keys) == 3
    assert set(numbers) < {0, 1, 2, 3}
    assert sorted(key[9:] for key in keys) == [b"a.png", b"sub/a b.png", b"with alpha.png"]


def test_encoded_record_is_the_file_itself_without_sizes(place: Workplace) -> None:
    value = convert(place, "--encoded")[b"00000000_a.png"]
    record = Datum.FromString(value)
    assert [field.name for field, _ in record.ListFields()] == ["data", "label", "encoded"]
    assert record.data == (place.path / "images" / "a.png").read_bytes()


def test_mean_is_a_legacy_blob_of_float32_averages(place: Workplace) -> None:
    values = convert(place, "--resize_width=5", "--resize_height=4").values()
    place.run(["compute_image_mean", "db", "mean"])
    mean = BlobProto.FromString((place.path / "mean").read_bytes())
    names = [field.name for field, _ in mean.ListFields()]
    assert names == ["num", "channels", "height", "width", "data"]
    assert (mean.num, mean.channels, mean.height, mean.width) == (1, 3, 4, 5)
    pixels = [np.frombuffer(Datum.FromString(value).data, np.uint8) for value in values]
    total = np.sum(pixels, axis=0, dtype=np.float32)
    assert np.array_equal(np.array(mean.data, np.float32), total / np.float32(3))
