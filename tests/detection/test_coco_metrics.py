"""Our average precision against pycocotools', and COCO's numbers of what is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scenery

from caffetools.detection import average_precision, coco_metrics
from caffetools.detection.detections import Detection
from caffetools.detection.judgement import Judgement
from caffetools.detection.manifest import Box, Picture
from caffetools.detection.scenes import Scenes

SEEDS = range(6)


def theirs(scenes: Scenes, recalls: np.ndarray) -> np.ndarray:
    """(C,) pycocotools' AP at IoU 0.5, the mean of the precisions at ``recalls``."""
    judge = coco_metrics.judged(scenes, iouThrs=np.array([0.5]), recThrs=recalls)
    return judge.eval["precision"][0, :, :, 0, 2].mean(axis=0)


def ours(scenes: Scenes, metric: str) -> np.ndarray:
    judgement = Judgement.of(scenes)
    return np.array([judgement.row(name)[metric] for name in scenes.classes])


# The scenes' boxes do not overlap, so that VOC's way to match, which holds a detection against its
# nearest box alone, and COCO's, which then tries the others, do the same.


@pytest.mark.parametrize("seed", SEEDS)
def test_eleven_points_are_pycocotools(seed: int, tmp_path: Path):
    scenes = scenery.read(tmp_path, *scenery.random_scene(seed))
    found = ours(scenes, "voc07")
    # Their precision has 2e-16 added to what it divides by.
    np.testing.assert_allclose(found, theirs(scenes, np.arange(11) / 10), rtol=0, atol=1e-12)
    assert np.all((found > 0.05) & (found < 0.95))


@pytest.mark.parametrize("seed", SEEDS)
def test_the_area_is_pycocotools_at_dense_recalls(seed: int, tmp_path: Path):
    scenes = scenery.read(tmp_path, *scenery.random_scene(seed))
    points = 20001
    dense = theirs(scenes, np.linspace(0, 1, points))
    # The envelope falls from 1 to 0 at most, so that the mean of its values at n points, of which
    # the first stands for no stretch, is off the integral by less than 2 / n.
    np.testing.assert_allclose(ours(scenes, "area"), dense, rtol=0, atol=2 / points)


@pytest.mark.parametrize("seed", SEEDS)
def test_difficult_boxes_are_ignored_by_both(seed: int, tmp_path: Path):
    # Each is found once at most here: COCO ignores a difficult box's first find, VOC all of them.
    pictures, found = scenery.random_scene(seed, difficult=0.4)
    firsts = {}
    for one in found:
        # No detection's middle is far enough from its own to be another cell's.
        middle = (np.array(one.corners).reshape(2, 2).mean(axis=0) + 4) // 60
        firsts[one.path, one.class_name, *middle] = one
    scenes = scenery.read(tmp_path, pictures, list(firsts.values()))
    assert sum(int(truth.difficult.sum()) for truth in scenes.truth.values()) > 5
    found07 = ours(scenes, "voc07")
    np.testing.assert_allclose(found07, theirs(scenes, np.arange(11) / 10), rtol=0, atol=1e-12)


def test_the_twelve_numbers_are_pycocotools_own(tmp_path: Path, capsys: pytest.CaptureFixture):
    scenes = scenery.read(tmp_path, *scenery.random_scene(0))
    found = coco_metrics.evaluate(scenes)
    assert capsys.readouterr().out == ""
    judge = coco_metrics.judged(scenes)
    judge.summarize()
    named = dict(zip(coco_metrics.NAMES, judge.stats, strict=True))
    # Scenes have no object of 96 x 96 pixels.
    assert found.numbers == {**named, "AP_large": None, "AR_large": None}
    assert np.mean(list(found.ap.values())) == pytest.approx(named["AP"])
    assert np.mean(list(found.ap50.values())) == pytest.approx(named["AP50"])
    assert named["AP50"] > named["AP"] > 0


def one_box(**flags: bool) -> Picture:
    return Picture("a.png", (Box("cat", (0, 0, 99, 99), **flags),), "test", width=200, height=200)


@pytest.mark.parametrize("corners", [(0, 0, 99, 74), (0, 0, 74, 99)])
def test_numbers_of_one_object(corners: tuple[int, ...], tmp_path: Path):
    # 100 x 75 of 100 x 100 pixels: IoU 0.75, which just reaches 6 of COCO's ten thresholds.
    scenes = scenery.read(tmp_path, [one_box()], [Detection("a.png", "cat", 0.9, corners)])
    found = coco_metrics.evaluate(scenes)
    assert found.numbers["AP"] == pytest.approx(0.6)
    assert found.numbers["AP50"] == found.numbers["AP75"] == pytest.approx(1)
    assert found.numbers["AP_small"] is None
    assert found.numbers["AR_1"] == pytest.approx(0.6)
    assert found.ap == {"cat": pytest.approx(0.6), "cow": None, "dog": None}
    assert found.ap50 == {"cat": pytest.approx(1), "cow": None, "dog": None}


@pytest.mark.parametrize("flag", ["difficult", "crowd"])
def test_what_is_to_be_ignored_is_neither_found_nor_missed(flag: str, tmp_path: Path):
    real = Picture("b.png", one_box().boxes, "test", width=200, height=200)
    # The surer detection would halve the precision if it were false.
    found = [
        Detection(path, "cat", s, (0, 0, 99, 99)) for path, s in (("a.png", 0.9), ("b.png", 0.5))
    ]
    scenes = scenery.read(tmp_path, [one_box(**{flag: True}), real], found)
    assert coco_metrics.evaluate(scenes).numbers["AP"] == pytest.approx(1)
    assert ours(scenes, "area")[0] == 1.0
    alone = scenery.read(tmp_path, [one_box(**{flag: True}), real], found[:1])
    assert coco_metrics.evaluate(alone).numbers["AP"] == 0
    assert ours(alone, "area")[0] == 0.0


def test_a_crowd_is_found_many_times(tmp_path: Path):
    halves = [
        Detection("a.png", "cat", 0.9, (0, 0, 99, 49)),
        Detection("a.png", "cat", 0.8, (0, 50, 99, 99)),
    ]
    real = Picture("b.png", one_box().boxes, "test", width=200, height=200)
    found = [*halves, Detection("b.png", "cat", 0.5, (0, 0, 99, 99))]
    scenes = scenery.read(tmp_path, [one_box(crowd=True), real], found)
    assert coco_metrics.evaluate(scenes).numbers["AP"] == pytest.approx(1)


def test_nothing_found_and_nothing_to_find(tmp_path: Path):
    scenes = scenery.read(tmp_path, [one_box()], [])
    assert coco_metrics.evaluate(scenes).numbers["AP"] == 0
    empty = Picture("a.png", (), "test", width=9, height=9)
    numbers = coco_metrics.evaluate(scenery.read(tmp_path, [empty], [])).numbers
    assert set(numbers.values()) == {None}
    assert average_precision.mean(dict.fromkeys(scenes.classes)) is None
