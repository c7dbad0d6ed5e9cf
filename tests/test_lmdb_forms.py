"""LMDBs in every form: fitted, encoded, in shapes of their own; both builds read them alike."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import cv2
import lmdb
import numpy as np
import pytest
from bvlc import Build

import caffe
from caffe.proto import caffe_pb2
from caffetools import databases
from caffetools import lmdb as tool
from caffetools.cli import ToolError
from caffetools.datums import pixels_of
from caffetools.fitting import MODES, Fit

SHAPES = [(40, 60), (60, 40), (33, 100), (50, 50), (7, 90), (24, 32)]


def photograph(seed: int, height: int, width: int) -> np.ndarray:
    noise = np.random.RandomState(seed).randint(0, 256, (height, width, 3)).astype(np.uint8)
    return cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 2), None, 0, 255, cv2.NORM_MINMAX)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Photographs of all proportions, and a list of them."""
    folder = tmp_path / "images"
    folder.mkdir()
    for i, (height, width) in enumerate(SHAPES):
        cv2.imwrite(str(folder / f"{i}.jpg"), photograph(i, height, width))
    lines = "".join(f"{i}.jpg {i % 2}\n" for i in range(len(SHAPES)))
    (tmp_path / "list.txt").write_text(lines)
    return folder


def convert(root: Path, *options: str, size: tuple[int, int] = (32, 24)) -> Path:
    """Run the command on the list beside ``root``."""
    output = root.parent / "db"
    places = ["--list", str(root.parent / "list.txt"), "--root", str(root)]
    resized = ["--width", str(size[0]), "--height", str(size[1])]
    tool.main(["convert", *places, "--output", str(output), *resized, *options])
    return output


def values(database: Path) -> list[bytes]:
    with lmdb.open(str(database), readonly=True, lock=False) as environment:
        return [bytes(value) for _, value in environment.begin().cursor()]


def images(database: Path) -> list[np.ndarray]:
    return [pixels_of(value).transpose(1, 2, 0) for value in values(database)]


# --- fitting ----------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [*SHAPES, (1, 500), (500, 1)])
@pytest.mark.parametrize("gray", [False, True])
def test_what_fits(shape: tuple[int, int], gray: bool):
    image = photograph(0, *shape)[..., : 1 if gray else 3]
    channels = image.shape[2]
    fitted = {mode: Fit(32, 24, mode)(image) for mode in MODES}
    for mode in ("warp", "crop", "pad"):
        assert fitted[mode].shape == (24, 32, channels)
        assert fitted[mode].dtype == np.uint8
    np.testing.assert_array_equal(fitted["warp"].squeeze(), cv2.resize(image, (32, 24)).squeeze())
    # The scale by which the one side, or the other, becomes what is asked for.
    cover, inside = (choose(24 / shape[0], 32 / shape[1]) for choose in (max, min))
    large, small = (
        cv2.resize(image, tuple(max(1, round(side * scale)) for side in shape[::-1]))
        for scale in (cover, inside)
    )
    large, small = large.reshape(*large.shape[:2], -1), small.reshape(*small.shape[:2], -1)
    np.testing.assert_array_equal(fitted["short"], large)
    assert min(large.shape[0] - 24, large.shape[1] - 32) == 0
    top, left = (large.shape[0] - 24) // 2, (large.shape[1] - 32) // 2
    np.testing.assert_array_equal(fitted["crop"], large[top : top + 24, left : left + 32])
    top, left = (24 - small.shape[0]) // 2, (32 - small.shape[1]) // 2
    framed = np.zeros((24, 32, channels), np.uint8)
    framed[top : top + small.shape[0], left : left + small.shape[1]] = small
    np.testing.assert_array_equal(fitted["pad"], framed)


@pytest.mark.parametrize("mode", MODES)
def test_the_database_holds_what_fits(root: Path, mode: str):
    found = images(convert(root, "--fit", mode))
    for i, image in enumerate(found):
        expected = Fit(32, 24, mode)(cv2.imread(str(root / f"{i}.jpg")))
        np.testing.assert_array_equal(image, expected)


def test_shapes_that_differ_are_told(root: Path):
    facts = json.loads(convert(root, "--fit", "short").with_name("db.json").read_text())
    assert (facts["shapes_differ"], facts["height"], facts["width"]) == (True, 24, 32)
    total = sum(image.sum(axis=(0, 1), dtype=float) for image in images(root.parent / "db"))
    count = sum(image.shape[0] * image.shape[1] for image in images(root.parent / "db"))
    assert facts["channel_means"] == [round(value, 4) for value in total / count]


@pytest.mark.parametrize("mode", MODES)
def test_a_line_does_not_fill_the_memory(root: Path, mode: str):
    """Of 60,000 x 1 pixels covering 256 x 256 makes 15,360,000 x 256, which is 12 GB."""
    cv2.imwrite(str(root / "0.jpg"), np.zeros((1, 60_000, 3), np.uint8))
    if mode in ("warp", "pad"):
        assert len(images(convert(root, "--fit", mode))) == len(SHAPES)
        return
    with pytest.raises(ToolError, match=r"0\.jpg: 60000 x 1 pixels would become 15360000 x 256"):
        convert(root, "--width", "256", "--height", "256", "--fit", mode)


def test_a_size_that_nothing_holds(root: Path):
    with pytest.raises(ToolError, match="--width 32 --height 9999999: expected at most 178956970"):
        convert(root, "--height", "9999999")


def test_a_fit_needs_a_size(root: Path):
    with pytest.raises(ToolError, match="--fit crop: expected --width and --height beside it"):
        tool.main(["convert", "--list", str(root.parent / "list.txt"), "--root", str(root),
                   "--output", str(root.parent / "db"), "--fit", "crop"])  # fmt: skip


# --- encoding ---------------------------------------------------------------------------


@pytest.mark.parametrize("gray", [[], ["--gray"]])
def test_a_png_is_the_pixels_exactly(root: Path, gray: list[str]):
    raw = images(convert(root, *gray))
    plain = json.loads((root.parent / "db.json").read_text())
    stored = values(convert(root, "--encode", "png", *gray))
    facts = json.loads((root.parent / "db.json").read_text())
    assert plain.pop("sha256") != facts.pop("sha256")
    assert (plain.pop("encode"), facts.pop("encode")) == (None, "png")
    assert plain == facts
    for value, expected in zip(stored, raw, strict=True):
        datum = caffe_pb2.Datum.FromString(value)
        assert datum.encoded
        assert datum.data.startswith(b"\x89PNG")
        np.testing.assert_array_equal(pixels_of(value).transpose(1, 2, 0), expected)


def test_a_jpeg_is_smaller_and_near(root: Path):
    raw = values(convert(root, size=(200, 200)))
    stored = values(convert(root, "--encode", "jpg", size=(200, 200)))
    assert sum(map(len, stored)) < sum(map(len, raw)) / 4
    for one, other in zip(stored, raw, strict=True):
        assert np.abs(pixels_of(one).astype(int) - pixels_of(other)).mean() < 3


@pytest.mark.parametrize("options", [[], ["--encode", "png"], ["--encode", "jpg"]])
def test_any_number_of_workers_writes_the_same_bytes(root: Path, options: list[str]):
    first = (convert(root, *options, "--workers", "1") / "data.mdb").read_bytes()
    for workers in ("2", "5"):
        again = convert(root, *options, "--workers", workers)
        assert (again / "data.mdb").read_bytes() == first


def test_an_image_that_is_too_large_for_its_encoding(root: Path):
    cv2.imwrite(str(root / "0.jpg"), np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(ToolError, match=r"0\.jpg: jpg: 70000 x 8 pixels are too many for it"):
        convert(root, "--width", "70000", "--height", "8", "--encode", "jpg")


def test_workers_are_at_least_one(root: Path):
    with pytest.raises(ToolError, match="--workers: expected at least 1, found 0"):
        convert(root, "--workers", "0")


# --- a full disk ------------------------------------------------------------------------


def test_a_disk_without_room_is_told_before_all_is_written(root: Path, monkeypatch):
    before = convert(root)
    monkeypatch.setattr(databases.shutil, "disk_usage", lambda _: SimpleNamespace(free=20_000))
    with pytest.raises(ToolError, match=r"6 records of 2\d{3} bytes need about 0\.0 MB.*0\.0 MB"):
        convert(root)
    assert len(values(before)) == len(SHAPES)
    assert sorted(path.name for path in root.parent.iterdir()) == [
        "db", "db.json", "images", "list.txt",
    ]  # fmt: skip


def test_one_large_image_does_not_speak_for_all(root: Path, monkeypatch):
    """As PNG the first image takes 120 kB, and each of the five others a page."""
    noise = np.random.RandomState(0).randint(0, 256, (200, 200, 3)).astype(np.uint8)
    for i, image in enumerate([noise, *[np.full_like(noise, 9)] * 5]):
        cv2.imwrite(str(root / f"{i}.jpg"), image)
    monkeypatch.setattr(databases.shutil, "disk_usage", lambda _: SimpleNamespace(free=300_000))
    found = convert(root, "--encode", "png", size=(200, 200))
    sizes = [len(value) for value in values(found)]
    assert sizes[0] * len(sizes) > 300_000 > sum(sizes)


def test_a_disk_that_fills_leaves_nothing_behind(root: Path):
    """A limit on the size of files stands for the disk's end: writing fails midway."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

    places = ["--list", str(root.parent / "list.txt"), "--root", str(root)]
    done = subprocess.run(
        [sys.executable, "-m", "caffetools.lmdb", "convert", *places, "--width", "200",
         "--height", "200", "--output", str(root.parent / "db")],
        preexec_fn=limit, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1
    assert "could not be written" in done.stderr
    assert "is the disk full? It has" in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(path.name for path in root.parent.iterdir()) == ["images", "list.txt"]


# --- both builds ------------------------------------------------------------------------

READ = """
import numpy, caffe
caffe.set_random_seed(3)
net = caffe.Net("net.prototxt", caffe.TEST)
found = {}
for i in range(2):
    net.forward()
    for name in ("data", "label"):
        found[name + str(i)] = net.blobs[name].data.copy()
numpy.savez("out.npz", **found)
"""
NET = """
layer {
  name: "data" type: "Data" top: "data" top: "label"
  transform_param { %s }
  data_param { source: "db" batch_size: %d backend: LMDB }
}
"""
FORMS: list[tuple[list[str], str, int]] = [
    ([], "", 4),
    (["--gray"], "crop_size: 20 mean_value: 100", 4),
    (["--encode", "png"], "mean_value: 104 mean_value: 117 mean_value: 123", 4),
    (["--encode", "png", "--gray"], "scale: 0.5", 4),
    (["--encode", "jpg"], "crop_size: 20", 4),
    (["--fit", "crop"], "", 4),
    (["--fit", "pad", "--encode", "png"], "", 4),
    (["--fit", "short"], "crop_size: 20", 4),
    (["--fit", "short", "--encode", "png"], "", 1),
]


@pytest.mark.oracle
@pytest.mark.parametrize(("options", "transform", "batch"), FORMS)
def test_both_data_layers_give_the_same_batches(
    root: Path, bvlc: Build, monkeypatch, options: Sequence[str], transform: str, batch: int
):
    database = convert(root, *options)
    net = NET % (transform, batch)
    with bvlc.workplace({"db": database, "net.prototxt": net}) as place:
        place.python(READ)
        with np.load(place.path / "out.npz") as there:
            expected = dict(there)
    monkeypatch.chdir(root.parent)
    Path("net.prototxt").write_text(net)
    ours = caffe.Net("net.prototxt", caffe.TEST)
    for i in range(2):
        ours.forward()
        for name in ("data", "label"):
            np.testing.assert_array_equal(ours.blobs[name].data, expected[f"{name}{i}"])


@pytest.mark.oracle
def test_photographs_are_those_of_convert_imageset(root: Path, bvlc: Build):
    ours = convert(root)
    with bvlc.workplace({"images": root, "list.txt": root.parent / "list.txt"}) as place:
        place.run(["convert_imageset", "--resize_width=32", "--resize_height=24", "images/",
                   "list.txt", "db"])  # fmt: skip
        theirs = images(place.path / "db")
    # Decoders may round otherwise; these, of OpenCV 4.5 and of today, do not.
    for one, other in zip(images(ours), theirs, strict=True):
        np.testing.assert_array_equal(one, other)
