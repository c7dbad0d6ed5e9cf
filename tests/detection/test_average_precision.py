"""Average precision: curves worked by hand, and random ones against their definitions."""

from __future__ import annotations

import numpy as np
import pytest

from caffetools.detection.average_precision import area, curve, eleven_points, envelope, mean
from caffetools.detection.matching import Matches


def judged(verdicts: str) -> Matches:
    """Detections by descending score: R right, F false, - ignored."""
    letters = np.array(list(verdicts))
    count = len(letters)
    return Matches(
        np.arange(count), 1 - np.arange(count) / 100, letters == "R", letters == "-",
        np.zeros(count, int), np.zeros(count),
    )  # fmt: skip


def test_a_curve_by_hand():
    # right  R    F    R    F    F    R       of 4 objects
    # recall 1/4  1/4  2/4  2/4  2/4  3/4
    # prec.  1    1/2  2/3  2/4  2/5  3/6
    # P      1    2/3  2/3  1/2  1/2  1/2
    drawn = curve(judged("RFRFFR"), 4)
    np.testing.assert_allclose(drawn.recall, [1 / 4, 1 / 4, 2 / 4, 2 / 4, 2 / 4, 3 / 4])
    np.testing.assert_allclose(drawn.precision, [1, 1 / 2, 2 / 3, 2 / 4, 2 / 5, 3 / 6])
    np.testing.assert_allclose(envelope(drawn.precision), [1, 2 / 3, 2 / 3, 1 / 2, 1 / 2, 1 / 2])
    # Area: a quarter of recall each at 1, 2/3 and 1/2, and nothing behind 3/4.
    assert area(drawn) == pytest.approx((1 + 2 / 3 + 1 / 2) / 4, abs=1e-12)
    # 0, .1, .2 reach 1; .3, .4, .5 reach 2/3; .6, .7 reach 1/2; .8, .9, 1 reach none.
    assert eleven_points(drawn) == pytest.approx((3 * 1 + 3 * 2 / 3 + 2 / 2) / 11, abs=1e-12)


def test_the_same_with_ignored_ones_between():
    with_ignored, without = curve(judged("-R-FRFF--R-"), 4), curve(judged("RFRFFR"), 4)
    assert with_ignored.precision.tolist() == without.precision.tolist()
    assert with_ignored.recall.tolist() == without.recall.tolist()
    assert with_ignored.scores[0] == pytest.approx(0.99)


def test_all_found_and_none_found():
    assert area(curve(judged("RRR"), 3)) == pytest.approx(1.0)
    assert eleven_points(curve(judged("RRR"), 3)) == 1.0
    for verdicts in ("", "FFF", "--"):
        assert area(curve(judged(verdicts), 3)) == 0.0
        assert eleven_points(curve(judged(verdicts), 3)) == 0.0


def test_three_of_ten_objects_reach_a_recall_of_three_tenths():
    # 0, .1, .2 and .3 reach precision 1: 4 / 11. With 0.1 + 0.1 + 0.1 > 0.3 it would be 3 / 11.
    assert eleven_points(curve(judged("RRR"), 10)) == pytest.approx(4 / 11, abs=1e-12)
    assert eleven_points(curve(judged("RRRRRR"), 10)) == pytest.approx(7 / 11, abs=1e-12)


@pytest.mark.parametrize("seed", range(20))
def test_random_curves_as_the_definition_says(seed: int):
    random = np.random.default_rng(seed)
    drawn = curve(judged("".join(random.choice(list("RF-"), 40))), int(random.integers(20, 60)))

    def greatest(recall: float) -> float:
        return max(drawn.precision[drawn.recall >= recall], default=0.0)

    steps = np.diff(np.append(0, drawn.recall))
    by_definition = sum(
        step * greatest(recall) for step, recall in zip(steps, drawn.recall, strict=True)
    )
    assert area(drawn) == pytest.approx(by_definition, abs=1e-12)
    points = [greatest(tenths / 10) for tenths in range(11)]
    assert eleven_points(drawn) == pytest.approx(np.mean(points), abs=1e-12)


def test_the_mean_leaves_out_classes_without_objects():
    assert mean({"cat": 0.5, "cow": None, "dog": 1.0}) == 0.75
    assert mean({"cow": None}) is None
