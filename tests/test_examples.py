"""The built-in example images: digits, and letters brought to the digits' form."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from sklearn.datasets import load_digits

from caffetools import examples
from caffetools.cli import ToolError

PER_CLASS = 22


@pytest.fixture(scope="module")
def letters() -> np.ndarray:
    images, _ = examples.letters(PER_CLASS, seed=0)
    return images


def tree(folder: Path) -> dict[str, bytes]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_digits_hold_every_value_of_scikit_learns(tmp_path: Path) -> None:
    examples.main(["digits", "--output", str(tmp_path / "images")])
    bunch = load_digits()
    files = sorted((tmp_path / "images").rglob("*.png"), key=lambda path: path.name)
    assert len(files) == 1797
    assert [int(path.parent.name) for path in files] == bunch.target.tolist()
    gray = np.stack([cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in files])
    assert gray.dtype == np.uint8
    assert gray.max() == 255
    np.testing.assert_array_equal(np.rint(gray * (16 / 255)), bunch.images)


def test_blocks_are_counted() -> None:
    bitmap = np.zeros((1, 32, 32), np.uint8)
    bitmap[0, 4:8, 8:12] = 1
    bitmap[0, 31, 28:31] = 1
    expected = np.zeros((1, 8, 8))
    expected[0, 1, 2] = 16
    expected[0, 7, 7] = 3
    np.testing.assert_array_equal(examples.count_blocks(bitmap), expected)
    np.testing.assert_array_equal(examples.to_gray(np.array([0, 8, 16])), [0, 128, 255])


def test_text_fonts_leave_symbols_out() -> None:
    names = [path.name for path in examples.text_fonts()]
    assert names == sorted(names)
    assert len(names) >= 20
    assert {"DejaVuSans.ttf", "STIXGeneral.ttf", "cmr10.ttf"} <= set(names)
    assert not [n for n in names if n.startswith(("LastResort", "cmex", "cmsy", "STIXSiz"))]


def test_same_seed_same_bytes(tmp_path: Path) -> None:
    for name, seed in (("a", "3"), ("b", "3"), ("c", "4")):
        arguments = ["--per-class", "2", "--seed", seed, "--output", str(tmp_path / name)]
        examples.main(["letters", *arguments])
    first = tree(tmp_path / "a")
    assert first == tree(tmp_path / "b")
    assert first.keys() == tree(tmp_path / "c").keys()
    assert first != tree(tmp_path / "c")
    assert len(first) == 52
    assert {name.split("/")[0] for name in first} == set("ABCDEFGHIJKLMNOPQRSTUVWXYZ")


def test_letters_have_the_digits_form(letters: np.ndarray) -> None:
    """Brightness, its scatter, filled and full pixels, and the frame, against the digits'."""
    digits, _ = examples.digits()
    ink, digit_ink = letters.mean(axis=(1, 2)) / 255, digits.mean(axis=(1, 2)) / 255
    assert ink.mean() == pytest.approx(digit_ink.mean(), abs=0.02)
    assert ink.std() == pytest.approx(digit_ink.std(), abs=0.01)
    assert (letters > 0).mean() == pytest.approx((digits > 0).mean(), abs=0.05)
    assert (letters == 255).mean() == pytest.approx((digits == 255).mean(), abs=0.03)
    assert (letters[:, [0, -1]].max(axis=2) > 0).all()
    used = (letters.max(axis=1) > 0).sum(axis=1)
    digits_used = (digits.max(axis=1) > 0).sum(axis=1)
    assert used.mean() == pytest.approx(digits_used.mean(), abs=0.5)


def test_letters_differ_and_stay_legible(letters: np.ndarray) -> None:
    assert len(np.unique(letters.reshape(-1, 64), axis=0)) > 0.99 * len(letters)
    flat = letters.reshape(26, PER_CLASS, 64).astype(float)
    distance = ((flat[:, :, None] - flat.mean(axis=1)) ** 2).sum(axis=3)
    told_by_nearest_mean = distance.argmin(axis=2) == np.arange(26)[:, None]
    assert told_by_nearest_mean.mean() > 0.6  # by chance: 0.04


@pytest.mark.parametrize(
    ("arguments", "place"),
    [(["--per-class", "0"], "--per-class"), (["--seed", "-1"], "--seed")],
)
def test_bad_numbers_are_named(tmp_path: Path, arguments: list[str], place: str) -> None:
    with pytest.raises(ToolError, match=place):
        examples.main(["letters", "--output", str(tmp_path / "images"), *arguments])
    assert not (tmp_path / "images").exists()


def test_a_folder_of_something_else_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ToolError, match=r"thesis\.tex"):
        examples.main(["digits", "--output", str(tmp_path)])
    assert (tmp_path / "thesis.tex").read_text() == "years of work"
