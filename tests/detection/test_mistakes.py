"""Kinds of false detections, missed objects, the score they depend on, and images' scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scenery

from caffetools.detection import mistakes, operating_point
from caffetools.detection.detections import Detection
from caffetools.detection.image_scores import image_scores
from caffetools.detection.manifest import Box, Picture
from caffetools.detection.matching import Matches, match
from caffetools.detection.mistakes import KINDS

CAT, FAR_CAT = Box("cat", (0, 0, 9, 9)), Box("cat", (0, 80, 9, 89))
DOG, COW = Box("dog", (40, 0, 49, 9)), Box("cow", (80, 0, 89, 9))
MORE = tuple(Box("cat", (0, 20 + 15 * k, 9, 29 + 15 * k)) for k in range(3))
PICTURES = [Picture("a.png", (CAT, *MORE, FAR_CAT, DOG, COW), "test", width=100, height=100)]


def kinds(tmp_path: Path, corners: list[tuple], groups=None) -> list[str]:
    """The kinds of false detections of a cat, in the order given."""
    found = [Detection("a.png", "cat", 0.9 - i / 100, one) for i, one in enumerate(corners)]
    # The table is not in the order of the scores.
    scenes = scenery.read(tmp_path, PICTURES, found[::-1])
    matches = match(scenes.found["cat"], scenes.truth["cat"], 0.5)
    false = mistakes.false_positives("cat", scenes, matches, groups)
    assert false.considered == false.right + len(false.kinds) == min(len(corners), 5)
    assert sum(false.counts().values()) == len(false.kinds)
    return [KINDS[kind] for kind in false.kinds]


def test_each_kind_by_its_overlap(tmp_path: Path):
    cat, dog, nothing = (0, 0, 9, 9), (40, 0, 49, 9), (60, 60, 69, 69)
    assert kinds(tmp_path, [cat, cat, dog, nothing]) == ["localisation", "similar", "background"]


def test_a_tenth_of_overlap_makes_the_kind(tmp_path: Path):
    # A row of the cat is 10 of 100 pixels: IoU 0.1. Half a row is 0.05.
    assert kinds(tmp_path, [(0, 0, 9, 0)]) == ["localisation"]
    assert kinds(tmp_path, [(0, 0, 4, 0)]) == ["background"]
    assert kinds(tmp_path, [(40, 0, 49, 0), (40, 0, 44, 0)]) == ["similar", "background"]


def test_a_box_on_a_cat_and_a_dog_is_localised_badly(tmp_path: Path):
    # 50 x 10 pixels hold both: IoU 0.2 with each.
    assert kinds(tmp_path, [(0, 0, 49, 9)]) == ["localisation"]


def test_groups_tell_similar_classes_from_others(tmp_path: Path):
    boxes = [DOG.corners, COW.corners]
    assert kinds(tmp_path, boxes) == ["similar", "similar"]
    assert kinds(tmp_path, boxes, [frozenset({"cat", "dog"})]) == ["similar", "other"]
    assert kinds(tmp_path, boxes, [frozenset({"cow", "dog"})]) == ["other", "other"]
    both = [frozenset({"cat", "dog"}), frozenset({"cat", "cow"})]
    assert kinds(tmp_path, boxes, both) == ["similar", "similar"]


def test_as_many_detections_as_objects_are_looked_at(tmp_path: Path):
    assert kinds(tmp_path, [(60, 60, 69, 69)] * 9) == ["background"] * 5


def test_ignored_detections_are_passed_over(tmp_path: Path):
    hard = Box("cat", (60, 60, 69, 69), difficult=True)
    pictures = [Picture("a.png", (CAT, hard), "test", width=100, height=100)]
    found = [Detection("a.png", "cat", s, c) for s, c in ((0.9, hard.corners), (0.5, CAT.corners))]
    scenes = scenery.read(tmp_path, pictures, found)
    matches = match(scenes.found["cat"], scenes.truth["cat"], 0.5)
    false = mistakes.false_positives("cat", scenes, matches)
    assert (false.considered, false.right, len(false.rows)) == (1, 1, 0)


def test_groups_are_read_line_by_line(tmp_path: Path):
    (tmp_path / "similar.txt").write_text("cat, dog\n\ncow\n")
    found = mistakes.read_groups(tmp_path / "similar.txt", scenery.CLASSES)
    assert found == [frozenset({"cat", "dog"}), frozenset(), frozenset({"cow"})]


def test_sizes_at_their_bounds():
    # 32 x 31, 32 x 32, 96 x 95 and 96 x 96 pixels.
    corners = np.array([(0, 0, 31, 30), (0, 0, 31, 31), (0, 0, 95, 94), (0, 0, 95, 95)], float)
    assert mistakes.sizes(corners).tolist() == [0, 1, 1, 2]
    full = np.array([[640, 480]] * 4, float)
    assert mistakes.relative_sizes(corners, full).tolist() == [0, 1, 1, 2]
    quarter = np.array([[320, 240]] * 4, float)
    assert mistakes.relative_sizes(corners, quarter).tolist() == [1, 1, 2, 2]


def judged(scores: list[float], letters: str) -> Matches:
    """Detections of these scores, each R right, F false or - ignored."""
    verdicts, count = np.array(list(letters)), len(scores)
    return Matches(
        np.arange(count), np.array(scores), verdicts == "R", verdicts == "-",
        np.zeros(count, int), np.zeros(count),
    )  # fmt: skip


def test_the_best_point_of_two_classes_together():
    # Together: R .9, F .8, R .7, F .5. Of 3 objects, F1 is 2/4, 2/5, 4/6, 4/7.
    classes = [judged([0.9, 0.85, 0.5], "R-F"), judged([0.8, 0.7], "FR")]
    point = operating_point.best(classes, 3)
    assert point == pytest.approx((0.7, 2 / 3, 2 / 3, 2 / 3))
    assert operating_point.given(classes, 3, 0.5) == pytest.approx((0.5, 2 / 4, 2 / 3, 4 / 7))
    assert operating_point.given(classes, 3, 0.95) == (0.95, 0, 0, 0)


def test_detections_of_one_score_count_together():
    # At 0.5 there are six, of which two are right: 4 / (6 + 2) against 2 / (1 + 2) before. After
    # the second alone it would be 4 / (2 + 2).
    classes = [judged([0.9, 0.5, 0.5, 0.5, 0.5, 0.5], "RRFFFF")]
    assert operating_point.best(classes, 2) == pytest.approx((0.9, 1, 1 / 2, 2 / 3))
    assert operating_point.given(classes, 2, 0.5) == pytest.approx((0.5, 1 / 3, 1, 1 / 2))


def test_a_point_is_better_by_little():
    # 2 / (1 + 3) after the first, 4 / (4 + 3) after the fourth.
    assert operating_point.best([judged([0.9, 0.8, 0.7, 0.6], "RFFR")], 3).score == 0.6


def test_of_equal_points_the_highest_score():
    # F1 is 2/3 after the first, 2/4, 2/5, and 4/6 after the fourth, of two objects.
    assert operating_point.best([judged([0.9, 0.8, 0.7, 0.6], "RFFR")], 2).score == 0.9
    assert operating_point.best([judged([0.9, 0.1], "FF")], 2).score == 0.9


def test_without_detections_the_score_is_0():
    assert operating_point.best([judged([], "")], 2) == (0, 0, 0, 0)
    assert operating_point.given([judged([], "")], 0, 0.5) == (0.5, 0, 0, 0)


def test_images_by_hand(tmp_path: Path):
    pictures = [
        Picture("empty.png", (), "test", width=100, height=100),
        Picture("a.png", (CAT, FAR_CAT, DOG), "test", width=100, height=100),
        Picture("b.png", (CAT,), "test", width=100, height=100),
        Picture("none.png", (), "test", width=100, height=100),
    ]
    found = [
        Detection("a.png", "cat", 0.9, CAT.corners),
        Detection("a.png", "dog", 0.8, FAR_CAT.corners),
        Detection("b.png", "cat", 0.7, CAT.corners),
        Detection("empty.png", "dog", 0.6, CAT.corners),
        Detection("a.png", "cat", 0.1, FAR_CAT.corners),
    ]
    scenes = scenery.read(tmp_path, pictures, found[::-1])
    matches = {n: match(scenes.found[n], scenes.truth[n], 0.5) for n in scenes.classes}
    scores = image_scores(scenes, matches, 0.5)
    assert scores.right.tolist() == [0, 1, 1, 0]
    assert scores.wrong.tolist() == [1, 1, 0, 0]
    assert scores.missed.tolist() == [0, 2, 0, 0]
    np.testing.assert_allclose(scores.f1, [0, 2 / 5, 1, 1])
    np.testing.assert_allclose(scores.margin, [-0.6, (0.9 - 0.8) / 4, 0.7, 0])
    assert scores.order().tolist() == [2, 3, 1, 0]
    assert image_scores(scenes, matches, 0.0).missed.tolist() == [0, 1, 0, 0]
