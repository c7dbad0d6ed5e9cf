"""Which detections are right: VOC's rules, by hand and against them written out in loops."""

from __future__ import annotations

import numpy as np
import pytest

from caffetools.detection.matching import Found, Matches, Truth, best_overlaps, match


def truth(*boxes: tuple[int, tuple[float, ...], bool]) -> Truth:
    """Boxes as (image, corners, difficult)."""
    return Truth(
        np.array([image for image, _, _ in boxes], int),
        np.array([corners for _, corners, _ in boxes], float).reshape(-1, 4),
        np.array([difficult for _, _, difficult in boxes], bool),
    )


def found(*boxes: tuple[int, tuple[float, ...], float]) -> Found:
    """Detections as (image, corners, score)."""
    return Found(
        np.array([image for image, _, _ in boxes], int),
        np.array([corners for _, corners, _ in boxes], float).reshape(-1, 4),
        np.array([score for _, _, score in boxes], float),
    )


def verdicts(matches: Matches) -> str:
    """R for right, F for false, - for ignored, by descending score."""
    assert not np.any(matches.right & matches.ignored)
    return "".join(
        "-" if ignored else "R" if right else "F"
        for right, ignored in zip(matches.right, matches.ignored, strict=True)
    )


SQUARE = (0, 0, 9, 9)  # 10 x 10 pixels


def test_corners_belong_to_their_boxes():
    # (0,0)-(9,4) has 10 x 5 of the square's 100 pixels: IoU 50 / 100, 45 / 81 if edges counted not.
    halves = found((0, (0, 0, 9, 4), 0.9))
    _, overlap = best_overlaps(halves.image, halves.corners, *truth((0, SQUARE, False))[:2])
    assert overlap.tolist() == [0.5]


def test_an_overlap_as_great_as_the_threshold_finds():
    halves = found((0, (0, 0, 9, 4), 0.9))
    assert verdicts(match(halves, truth((0, SQUARE, False)), 0.5)) == "R"
    assert verdicts(match(halves, truth((0, SQUARE, False)), 0.51)) == "F"


def test_a_second_detection_of_an_object_is_false():
    # The second fits better, but the first is surer.
    twice = found((0, SQUARE, 0.6), (0, (0, 0, 9, 7), 0.9))
    matches = match(twice, truth((0, SQUARE, False)), 0.5)
    assert verdicts(matches) == "RF"
    assert matches.order.tolist() == [1, 0]
    assert matches.scores.tolist() == [0.9, 0.6]


def test_of_equal_scores_the_first_in_the_table_goes_first():
    twice = found((0, (0, 0, 9, 7), 0.9), (0, SQUARE, 0.9))
    assert match(twice, truth((0, SQUARE, False)), 0.5).right.tolist() == [True, False]


def test_a_detection_takes_no_other_box_than_its_nearest():
    # Boxes of 10 and 11 rows; both detections fit the first one best, so VOC lets the second go
    # false although it overlaps the other box by 100 / 110.
    boxes = truth((0, SQUARE, False), (0, (0, 0, 9, 10), False))
    assert verdicts(match(found((0, SQUARE, 0.9), (0, SQUARE, 0.8)), boxes, 0.5)) == "RF"


def test_of_equal_overlaps_the_first_box_counts():
    boxes = truth((0, SQUARE, False), (0, SQUARE, True))
    assert verdicts(match(found((0, SQUARE, 0.9)), boxes, 0.5)) == "R"
    boxes = truth((0, SQUARE, True), (0, SQUARE, False))
    assert verdicts(match(found((0, SQUARE, 0.9)), boxes, 0.5)) == "-"


def test_difficult_boxes_count_neither_as_found_nor_as_false():
    boxes = truth((0, SQUARE, True), (0, (50, 50, 59, 59), False))
    three = found((0, SQUARE, 0.9), (0, SQUARE, 0.8), (0, (50, 50, 59, 59), 0.7))
    assert boxes.objects == 1
    assert verdicts(match(three, boxes, 0.5)) == "--R"


def test_boxes_of_another_image_are_not_found():
    assert verdicts(match(found((1, SQUARE, 0.9)), truth((0, SQUARE, False)), 0.5)) == "F"


def test_nothing_against_nothing():
    assert verdicts(match(found(), truth((0, SQUARE, False)), 0.5)) == ""
    assert verdicts(match(found((0, SQUARE, 0.9)), truth(), 0.5)) == "F"
    assert verdicts(match(found(), truth(), 0.5)) == ""


def devkit(detections: Found, boxes: Truth, threshold: float) -> tuple[list[bool], list[bool]]:
    """Right and ignored by descending score: VOCevaldet's rules, a detection after the other."""
    taken: set[int] = set()
    right, ignored = [], []
    for index in sorted(range(len(detections.scores)), key=lambda i: -detections.scores[i]):
        greatest, nearest = -np.inf, -1
        for number in range(len(boxes.image)):
            if boxes.image[number] == detections.image[index]:
                a, b = detections.corners[index], boxes.corners[number]
                width = min(a[2], b[2]) - max(a[0], b[0]) + 1
                height = min(a[3], b[3]) - max(a[1], b[1]) + 1
                inter = max(width, 0) * max(height, 0)
                areas = [(c[2] - c[0] + 1) * (c[3] - c[1] + 1) for c in (a, b)]
                if inter / (sum(areas) - inter) > greatest:
                    greatest, nearest = inter / (sum(areas) - inter), number
        enough = greatest >= threshold
        ignored.append(bool(enough and boxes.difficult[nearest]))
        right.append(bool(enough and not boxes.difficult[nearest] and nearest not in taken))
        if enough:
            taken.add(nearest)
    return right, ignored


@pytest.mark.parametrize("seed", range(20))
def test_random_scenes_as_the_rules_written_out(seed: int):
    random = np.random.default_rng(seed)

    def corners(count: int) -> np.ndarray:
        # Few places and sizes, so that overlaps, thresholds and scores are often the same.
        start = random.integers(0, 12, (count, 2))
        return np.hstack([start, start + random.integers(4, 12, (count, 2))]).astype(float)

    boxes = Truth(random.integers(0, 4, 15), corners(15), random.random(15) < 0.3)
    detections = Found(random.integers(0, 5, 60), corners(60), random.integers(0, 20, 60) / 20)
    matches = match(detections, boxes, 0.5)
    right, ignored = devkit(detections, boxes, 0.5)
    assert matches.right.tolist() == right
    assert matches.ignored.tolist() == ignored
    assert any(right) or seed != 0
    assert any(ignored) or seed != 0
