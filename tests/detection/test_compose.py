"""The data set of digits on photographs: its boxes, its bytes, and what no two splits share."""

from __future__ import annotations

import itertools
from pathlib import Path

import cv2
import numpy as np
import pytest
from scenes import make

from caffetools.cli import ToolError
from caffetools.detection import compose
from caffetools.files import sha256


def composed(folder: Path, *options: str) -> Path:
    compose.main(["--output", str(folder), "--images", "20", "--size", "96", *options])
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return composed(tmp_path_factory.mktemp("made") / "digits")


def test_the_set_is_read_without_a_finding(made: Path):
    told = make("voc", made)
    assert told.findings == []
    assert told.summary["images"] == {"train": 14, "val": 3, "test": 3}
    assert told.summary["duplicates"] == 0
    for picture in told.pictures:
        assert (picture.width, picture.height) == (96, 96)
        assert 1 <= len(picture.boxes) <= 4
        for box in picture.boxes:
            x1, y1, x2, y2 = box.corners
            assert box.class_name in "0123456789"
            assert 0 <= x1 < x2 < 96
            assert 14 <= y2 - y1 + 1 <= 56
        for one, other in itertools.combinations(picture.boxes, 2):
            assert compose.overlap(one.corners, other.corners) < 0.1


def test_the_same_seed_gives_the_same_bytes_and_another_gives_others(made: Path, tmp_path: Path):
    def digests(folder: Path) -> dict[str, str]:
        files = (path for path in folder.rglob("*") if path.is_file())
        return {path.relative_to(folder).as_posix(): sha256(path) for path in files}

    assert digests(made) == digests(composed(tmp_path / "again"))
    other = digests(composed(tmp_path / "other", "--seed", "1"))
    assert not {sha for name, sha in other.items() if name.endswith(".png")} & set(
        digests(made).values()
    )


def test_a_box_is_the_least_that_holds_the_ink(monkeypatch: pytest.MonkeyPatch):
    # On ground that no ink is as dark or as bright as, each digit alone.
    ground = np.full((96, 96, 3), 128, np.uint8)
    monkeypatch.setattr(compose, "background", lambda *told: ground.copy())
    monkeypatch.setattr(compose, "MOST_DIGITS", 1)
    random = np.random.RandomState(0)
    made_of = compose.sources(random)["val"]
    for _ in range(30):
        image, [box] = compose.compose(made_of, 96, random)
        rows, columns = np.nonzero((image != 128).any(axis=2))
        found = (columns.min(), rows.min(), columns.max(), rows.max())
        # Ink that covers a pixel by less than a hundredth may leave it as it was.
        np.testing.assert_allclose(found, box.corners, atol=1)


def test_no_two_splits_share_handwriting_or_a_place_of_a_photograph():
    divided = compose.sources(np.random.RandomState(3))
    handwriting = [{digit.tobytes() for digit in one.digits} for one in divided.values()]
    assert [len(one.digits) for one in divided.values()] == [1078, 360, 359]
    assert not any(one & other for one, other in itertools.combinations(handwriting, 2))
    for number in (0, 1):
        strips = [one.photographs[number] for one in divided.values()]
        assert [strip.shape for strip in strips] == [(427, 384, 3), (427, 128, 3), (427, 128, 3)]
        whole = np.concatenate(strips, axis=1)[:, :, ::-1]
        assert np.array_equal(whole, compose.load_sample_images().images[number])


def test_ink_differs_from_its_ground(made: Path):
    for picture in make("voc", made).pictures:
        image = cv2.imread(str(made / picture.path))
        for box in picture.boxes:
            x1, y1, x2, y2 = map(int, box.corners)
            assert image[y1 : y2 + 1, x1 : x2 + 1].std() > 10


@pytest.mark.parametrize(
    "options", [("--images", "9"), ("--size", "63"), ("--size", "99999"), ("--seed", "-1")]
)
def test_sizes_that_cannot_be_end_in_a_sentence(options, tmp_path: Path):
    with pytest.raises(ToolError, match=f"{options[0]}: expected .* found {options[1]}"):
        composed(tmp_path / "digits", *options)


def test_a_folder_of_other_things_is_not_replaced(tmp_path: Path):
    (tmp_path / "mine.txt").touch()
    with pytest.raises(ToolError, match=r"holds 'mine\.txt'"):
        composed(tmp_path)
