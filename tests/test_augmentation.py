"""Augmentation: what is drawn, what becomes of pixels, and settings that cannot be."""

from __future__ import annotations

import colorsys
from pathlib import Path

import cv2
import numpy as np
import pytest
from google.protobuf import text_format
from PIL import Image, ImageEnhance
from recipes import write_lmdb
from small_nets import build, run

from caffe.proto import caffe_pb2
from recaffe.context import context
from recaffe.data.augmentation import Augmentation, Change
from recaffe.data.transformer import Transformer
from recaffe.errors import DataError

RANDOM = np.random.default_rng(0)
IMAGE = RANDOM.integers(0, 256, (3, 24, 32), np.uint8)
# Smooth, so that moving by parts of a pixel is told by a formula.
ROWS, COLUMNS = np.mgrid[0:60, 0:80]
SLOPE = np.stack([ROWS + 2.0 * COLUMNS, 100 - ROWS, COLUMNS + 0.0]).astype(np.float32)


def augmentation(settings: str) -> Augmentation:
    return Augmentation(text_format.Parse(settings, caffe_pb2.AugmentationParameter()), "data")


def drawn(settings: str, count: int = 500, shape=IMAGE.shape) -> list[Change]:
    made, random = augmentation(settings), np.random.default_rng(1)
    return [made.draw(random, shape) for _ in range(count)]


def colours(settings: str, image: np.ndarray = IMAGE) -> tuple[Change, np.ndarray]:
    """One change of the image, and the image after it."""
    made = augmentation(settings)
    change = made.draw(np.random.default_rng(3), image.shape)
    return change, made.apply(change, image)


def pillow(image: np.ndarray = IMAGE) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(image[::-1].transpose(1, 2, 0)))


def bgr(image: Image.Image) -> np.ndarray:
    return np.asarray(image, np.float32).transpose(2, 0, 1)[::-1]


# -- colours --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "enhancer"),
    [
        ("brightness", ImageEnhance.Brightness),
        ("contrast", ImageEnhance.Contrast),
        ("saturation", ImageEnhance.Color),
    ],
)
def test_colours_are_those_of_pillow(name, enhancer) -> None:
    change, found = colours(f"{name}: 0.8")
    factor = getattr(change, name)
    assert abs(factor - 1) > 0.1
    # Pillow rounds the gray to whole numbers, and the result.
    np.testing.assert_allclose(found, bgr(enhancer(pillow()).enhance(factor)), atol=1.6)
    assert not np.allclose(found, IMAGE, atol=10)


def test_hue_turns_the_colour_circle() -> None:
    change, found = colours("hue: 0.5")
    assert abs(change.hue) > 0.05
    for row, column in ((0, 0), (5, 7), (23, 31)):
        h, s, v = colorsys.rgb_to_hsv(*(IMAGE[::-1, row, column] / 255))
        expected = colorsys.hsv_to_rgb((h + change.hue) % 1, s, v)
        np.testing.assert_allclose(found[::-1, row, column] / 255, expected, atol=1e-3)


def test_all_colours_come_one_after_the_other() -> None:
    change, found = colours("brightness: 0.5 contrast: 0.5 saturation: 0.5")
    expected = pillow()
    for name, enhancer in (
        ("brightness", ImageEnhance.Brightness),
        ("contrast", ImageEnhance.Contrast),
        ("saturation", ImageEnhance.Color),
    ):
        expected = enhancer(expected).enhance(getattr(change, name))
    np.testing.assert_allclose(found, bgr(expected), atol=4)


def test_gray_images_can_be_brighter_and_have_more_contrast() -> None:
    gray = IMAGE[:1]
    change, found = colours("brightness: 0.3 contrast: 0.3", gray)
    bright = np.clip(gray * change.brightness, 0, 255)
    expected = np.clip(bright.mean() + (bright - bright.mean()) * change.contrast, 0, 255)
    np.testing.assert_allclose(found, expected, atol=1e-3)


@pytest.mark.parametrize("settings", ["saturation: 0.3", "hue: 0.1"])
def test_gray_images_have_no_colour(settings: str) -> None:
    with pytest.raises(DataError, match="8 bits and 3 channels, found uint8 and 1"):
        colours(settings, IMAGE[:1])


def test_floats_have_no_colours() -> None:
    with pytest.raises(DataError, match="found float32 and 3"):
        colours("brightness: 0.3", SLOPE)


# -- windows and turns ----------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_a_window_shows_the_place_that_was_drawn(channels: int) -> None:
    """Of a slope, each pixel tells where it was taken from."""
    image = np.concatenate([SLOPE, SLOPE[:1]])[:channels]
    made = augmentation("min_area: 0.2 max_area: 0.5 min_aspect: 0.5 max_aspect: 2")
    change = made.draw(np.random.default_rng(5), image.shape)
    found = made.apply(change, image)
    assert found.shape == image.shape
    assert found.dtype == np.float32
    (scale_x, skew, x0), (_, scale_y, y0) = change.matrix
    assert skew == pytest.approx(0)
    inside = (slice(None), slice(2, -2), slice(2, -2))
    rows, columns = y0 + scale_y * ROWS, x0 + scale_x * COLUMNS
    expected = np.stack([rows + 2 * columns, 100 - rows, columns, rows + 2 * columns])[:channels]
    np.testing.assert_allclose(found[inside], expected[inside], atol=0.12)  # OpenCV: 1/32 pixel


def test_windows_lie_within_the_image_and_have_the_shares_that_are_asked_for() -> None:
    areas, aspects, lefts = [], [], []
    height, width = IMAGE.shape[1:]
    for change in drawn("min_area: 0.1 max_area: 0.4 min_aspect: 0.75 max_aspect: 1.333"):
        (share_x, _, x0), (_, share_y, y0) = change.matrix
        # Corners of the window, in pixels from the image's own corner.
        left, top = x0 + 0.5 - share_x / 2, y0 + 0.5 - share_y / 2
        assert -1e-9 <= left <= width * (1 - share_x) + 1e-9
        assert -1e-9 <= top <= height * (1 - share_y) + 1e-9
        areas.append(share_x * share_y)
        aspects.append(share_x / share_y)
        lefts.append(left / (width * (1 - share_x)))
    assert 0.1 <= min(areas) < 0.13
    assert 0.37 < max(areas) <= 0.4
    assert np.mean(areas) == pytest.approx(0.25, abs=0.02)
    assert 0.75 <= min(aspects) < 0.77
    assert 1.31 < max(aspects) <= 1.333 + 1e-9
    assert np.mean(np.log(aspects)) == pytest.approx(0, abs=0.03)
    assert np.mean(lefts) == pytest.approx(0.5, abs=0.05)


def test_a_turn_is_about_the_middle_and_reflects_what_is_outside() -> None:
    made = augmentation("rotation: 180")
    change = Change(made.draw(np.random.default_rng(0), (3, 21, 21)).matrix, 1, 1, 1, 0)
    assert change.matrix[:, :2] @ change.matrix[:, :2].T == pytest.approx(np.eye(2))
    middle = change.matrix @ [10, 10, 1]
    assert middle == pytest.approx([10, 10])
    quarter = Change(np.array([[0.0, -1, 20], [1, 0, 0]]), 1, 1, 1, 0)
    image = IMAGE[:, :21, :21]
    np.testing.assert_array_equal(made.apply(quarter, image), np.rot90(image, 1, (1, 2)))
    angles = [
        np.degrees(np.arctan2(each.matrix[1, 0], each.matrix[0, 0]))
        for each in drawn("rotation: 30", shape=(3, 9, 9))
    ]
    assert -30 <= min(angles) < -28
    assert 28 < max(angles) <= 30
    white = np.full((3, 21, 21), 200, np.uint8)
    assert (made.apply(change, white) == 200).all()


def test_bytes_stay_bytes_where_pixels_only_move() -> None:
    made = augmentation("min_area: 0.5")
    change = made.draw(np.random.default_rng(0), IMAGE.shape)
    assert made.apply(change, IMAGE).dtype == np.uint8


# -- in a layer -----------------------------------------------------------------------------------

LAYER = """layer { name: "data" type: "Data" top: "data" top: "label"
  data_param { source: "lmdb" backend: LMDB batch_size: 6 }
  transform_param { crop_size: 9 mirror: true mean_value: 100 scale: 0.5 %s } }"""
ALL = (
    "augmentation { min_area: 0.2 min_aspect: 0.7 max_aspect: 1.5 rotation: 15 brightness: 0.4 "
    "contrast: 0.4 saturation: 0.4 hue: 0.1 }"
)


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    monkeypatch.chdir(tmp_path)
    given = RANDOM.integers(0, 256, (6, 3, 12, 16), np.uint8)
    write_lmdb(tmp_path / "lmdb", given, np.arange(6))
    return given


def batch(settings: str, phase: int = 0, seed: int = 0) -> np.ndarray:
    context.seed(seed)
    net = build(LAYER % settings, phase)
    run(net)
    return net.blobs["data"].data.copy()


@pytest.mark.usefixtures("images")
def test_off_by_default_and_in_tests() -> None:
    assert np.array_equal(batch("augmentation { }"), batch(""))
    assert np.array_equal(batch(ALL, phase=1), batch("", phase=1))
    assert not np.allclose(batch(ALL), batch(""), atol=20)


@pytest.mark.usefixtures("images")
def test_the_seed_tells_all() -> None:
    assert np.array_equal(batch(ALL, seed=4), batch(ALL, seed=4))
    assert not np.array_equal(batch(ALL, seed=4), batch(ALL, seed=5))


def test_the_change_comes_before_crop_mirror_mean_and_scale(images: np.ndarray) -> None:
    parameter = text_format.Parse(
        f"crop_size: 9 mirror: true mean_value: 100 scale: 0.5 {ALL}",
        caffe_pb2.TransformationParameter(),
    )
    transformer = Transformer(parameter, 0, 7, "data")
    seen = set()
    for image in images:
        draw = transformer.draw(image.shape)
        found = np.empty((3, 9, 9), np.float32)
        transformer.apply(draw, image, found)
        changed = Augmentation(parameter.augmentation, "data").apply(draw.change, image)
        expected = (changed[:, draw.rows, draw.columns] - 100) * 0.5
        np.testing.assert_allclose(
            found, expected[:, :, ::-1] if draw.mirrored else expected, atol=1e-4
        )
        seen.add(draw.mirrored)
    assert seen == {True, False}


def test_several_threads_make_no_difference(images: np.ndarray, monkeypatch) -> None:
    monkeypatch.setattr("recaffe.data.batches._LARGE", 1)
    found = []
    for threads in (1, 3):
        monkeypatch.setattr("recaffe.data.threads._threads", lambda threads=threads: threads)
        found.append(batch(ALL))
    assert np.array_equal(*found)


def test_images_in_files_are_augmented_too(images: np.ndarray) -> None:
    for index, image in enumerate(images):
        cv2.imwrite(f"{index}.png", image.transpose(1, 2, 0))
    Path("list").write_text("".join(f"{index}.png {index}\n" for index in range(6)))
    context.seed(2)
    net = build(
        'layer { name: "data" type: "ImageData" top: "data" top: "label" image_data_param { '
        'source: "list" batch_size: 6 } transform_param { augmentation { brightness: 0.5 } } }'
    )
    run(net)
    ratios = net.blobs["data"].data.mean(axis=(1, 2, 3)) / images.mean(axis=(1, 2, 3))
    assert ratios.min() < 0.9
    assert ratios.max() > 1.05


# -- mistakes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ("min_area: 0", "min_area is 0, expected above 0, up to max_area"),
        ("min_area: -1", "min_area is -1"),
        ("min_area: 0.5 max_area: 0.4", "min_area is 0.5"),
        ("max_area: 1.5", "max_area is 1.5, expected up to 1"),
        ("min_area: nan", "min_area is nan"),
        ("min_aspect: 2", "min_aspect is 2"),
        ("min_aspect: 0", "min_aspect is 0"),
        ("max_aspect: inf", "max_aspect is inf"),
        ("rotation: -5", "rotation is -5, expected 0 to 180 degrees"),
        ("brightness: 2", "brightness is 2, expected 0 to 1"),
        ("contrast: -1", "contrast is -1"),
        ("saturation: nan", "saturation is nan"),
        ("hue: 0.6", "hue is 0.6, expected 0 to 0.5 turns"),
    ],
)
def test_settings_that_cannot_be(settings: str, expected: str) -> None:
    with pytest.raises(DataError, match=f"layer 'data': augmentation.{expected}"):
        augmentation(settings)
