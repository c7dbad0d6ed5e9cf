"""Images that lie in more than one split."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from caffetools.dataset import duplicates
from caffetools.dataset.entry import Entry
from caffetools.dataset.examine import thumbnail


def picture(seed: int, size: int = 96) -> np.ndarray:
    """Something like a photograph: soft shapes in colour."""
    noise = np.random.RandomState(seed).randint(0, 256, (size, size, 3)).astype(np.uint8)
    return cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 8), None, 0, 255, cv2.NORM_MINMAX)


def again(image: np.ndarray, quality: int, size: int) -> np.ndarray:
    """The same picture, of another size, as a JPEG of this quality."""
    small = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
    return cv2.imdecode(cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], 1)


def found(*images: tuple[str, np.ndarray]) -> list[tuple[int, int, str]]:
    entries = [
        Entry(f"{i}.png", 0, "c", split, sha256=str(hash(image.tobytes())))
        for i, (split, image) in enumerate(images)
    ]
    thumbnails = np.array([thumbnail(image) for _, image in images])
    return [pair[:3] for pair in duplicates.find(entries, thumbnails)]


@pytest.mark.parametrize(("quality", "size"), [(95, 96), (40, 96), (90, 64), (60, 200)])
def test_the_same_picture_stored_again(quality, size):
    copy = again(picture(1), quality, size)
    assert found(("train", picture(0)), ("train", picture(1)), ("test", copy)) == [(2, 1, "near")]


def test_other_pictures_are_none():
    some = [("train" if i % 2 else "test", picture(i)) for i in range(200)]
    assert found(*some) == []


def test_images_of_one_shade_are_none():
    def shade(value: int) -> np.ndarray:
        noise = np.random.RandomState(value).randint(0, 3, (32, 32, 3))
        return (value + noise).astype(np.uint8)

    assert found(("train", shade(100)), ("test", shade(101))) == []


def test_same_bytes_are_exact_and_told_once_for_each_split():
    one = picture(0)
    assert found(("train", one), ("train", one), ("val", one), ("test", one), ("test", one)) == [
        (2, 0, "exact"),
        (3, 0, "exact"),
        (3, 2, "exact"),
        (4, 0, "exact"),
        (4, 2, "exact"),
    ]


def test_within_a_split_only_another_class_counts():
    entries = [
        Entry("a/1", 0, "a", "train", sha256="x"),
        Entry("a/2", 0, "a", "train", sha256="x"),
        Entry("b/1", 1, "b", "train", sha256="x"),
        Entry("b/2", 1, "b", "", sha256="x"),
    ]
    pairs = duplicates.find(entries, np.zeros((4, 256), np.uint8))
    assert [pair[:3] for pair in pairs] == [(2, 0, "exact")]
    assert duplicates.summary(entries, pairs) == {"across_splits": 0, "of_two_classes": 1}
    assert list(duplicates.rows(entries, pairs)) == [
        ("b/1", "train", "b", "a/1", "train", "a", "exact", "0.00")
    ]


def test_another_class_in_its_split_hides_no_copy_in_another():
    copy = again(picture(1), 60, 64)
    entries = [
        Entry("a/1", 0, "a", "train", sha256="x"),
        Entry("a/2", 0, "a", "test", sha256="y"),
        Entry("b/1", 1, "b", "test", sha256="y"),
    ]
    pairs = duplicates.find(entries, np.array([thumbnail(i) for i in (picture(1), copy, copy)]))
    assert [pair[:3] for pair in pairs] == [(1, 0, "near"), (2, 0, "near"), (2, 1, "exact")]
    assert duplicates.summary(entries, pairs) == {"across_splits": 2, "of_two_classes": 1}


@pytest.mark.parametrize("other", ["val", "test"])
def test_one_file_of_two_classes_is_told_wherever_it_is_named(other):
    val = Entry("a/1", 0, "a", "val", sha256="x")
    entries = [val, val._replace(split=other, label=1, class_name="b")]
    thumbnails = np.repeat(thumbnail(picture(0))[None], 2, axis=0)
    assert [pair[:3] for pair in duplicates.find(entries, thumbnails)] == [(1, 0, "exact")]


def test_one_file_in_val_and_test_is_meant_so_and_one_in_train_is_not():
    val = Entry("a/1", 0, "a", "val", sha256="x")
    thumbnails = np.repeat(thumbnail(picture(0))[None], 2, axis=0)
    assert duplicates.find([val, val._replace(split="test")], thumbnails) == []
    assert duplicates.find([val._replace(split="train"), val], thumbnails) == [(1, 0, "exact", 0.0)]


def test_the_nearest_is_that_of_all_pairs(monkeypatch):
    monkeypatch.setattr(duplicates, "_AT_ONCE", 7)
    monkeypatch.setattr(duplicates, "_OTHERS_AT_ONCE", 5)
    random = np.random.RandomState(3)
    train = random.randint(0, 256, (60, 256))
    noise = random.randint(-4, 5, (60, 256))
    noise[::3] *= 2
    test = np.clip(train[random.permutation(60)] + noise, 0, 255)
    entries = [
        Entry(str(i), 0, "c", "train" if i < 60 else "test", sha256=str(i)) for i in range(120)
    ]
    pairs = duplicates.find(entries, np.concatenate([train, test]).astype(np.uint8))
    rms = np.sqrt(((test[:, None] - train[None]) ** 2).mean(axis=2))
    expected = [(60 + i, int(rms[i].argmin())) for i in range(60) if rms[i].min() <= duplicates.RMS]
    assert 10 < len(expected) < 50
    assert [pair[:2] for pair in pairs] == expected
    assert [pair.rms for pair in pairs] == pytest.approx(
        [rms[i - 60, j] for i, j in expected], abs=1e-5
    )
