"""COCO's twelve numbers, computed by pycocotools from the same boxes and detections.

Boxes are handed on as ``x1, y1, x2 - x1 + 1, y2 - y1 + 1``. An object's size is its box's area,
where COCO's own data has that of its outline. Crowds are ``iscrowd``. A difficult box, which COCO
does not know, is ignored as one whose size lies in no range: no miss, and its find neither right
nor false.
"""

from __future__ import annotations

import io
from contextlib import redirect_stdout
from typing import Any, NamedTuple, Optional

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from caffetools.detection.matching import Found
from caffetools.detection.scenes import Scenes

# As COCOeval.summarize orders them; the numbers behind AR are detections an image.
NAMES = (
    "AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large",
    "AR_1", "AR_10", "AR_100", "AR_small", "AR_medium", "AR_large",
)  # fmt: skip
_NO_RANGE = -1.0


class CocoMetrics(NamedTuple):
    """``numbers`` by :data:`NAMES`; AP and AP50 by class. None where there is no object."""

    numbers: dict[str, Optional[float]]
    ap: dict[str, Optional[float]]
    ap50: dict[str, Optional[float]]


def evaluate(scenes: Scenes) -> CocoMetrics:
    """What COCO's evaluation says: at most 100 detections an image and class, 101 recalls."""
    judge = judged(scenes)
    with redirect_stdout(io.StringIO()):
        judge.summarize()
    # IoU threshold x recall x class, of all sizes and 100 detections an image.
    precision = judge.eval["precision"][:, :, :, 0, 2]
    return CocoMetrics(
        {name: _known(value) for name, value in zip(NAMES, judge.stats)},
        {name: _mean(precision[:, :, k]) for k, name in enumerate(scenes.classes)},
        {name: _mean(precision[0, :, k]) for k, name in enumerate(scenes.classes)},
    )


def judged(scenes: Scenes, **parameters: Any) -> COCOeval:
    """pycocotools' evaluation, accumulated; ``parameters`` are set in its ``params``."""
    with redirect_stdout(io.StringIO()):
        truth = _coco(scenes, _annotations(scenes))
        judge = COCOeval(truth, _coco(scenes, _results(scenes)), "bbox")
        for name, value in parameters.items():
            setattr(judge.params, name, value)
        judge.evaluate()
        judge.accumulate()
    return judge


def _coco(scenes: Scenes, annotations: list[dict[str, Any]]) -> COCO:
    made = COCO()
    # An annotation of the number 0 would count as none.
    numbered = [{"id": number, **one} for number, one in enumerate(annotations, 1)]
    made.dataset = {
        "images": [{"id": number} for number in range(len(scenes.pictures))],
        "categories": [{"id": k, "name": name} for k, name in enumerate(scenes.classes)],
        "annotations": numbered,
    }
    made.createIndex()
    return made


def _annotations(scenes: Scenes) -> list[dict[str, Any]]:
    found = []
    for k, name in enumerate(scenes.classes):
        truth = scenes.truth[name]
        for number, corners, box in zip(truth.image.tolist(), truth.corners, scenes.boxes[name]):
            one = _annotation(number, k, corners)
            if box.difficult:
                one["area"] = _NO_RANGE
            found.append({**one, "iscrowd": int(box.crowd)})
    return found


def _results(scenes: Scenes) -> list[dict[str, Any]]:
    return [
        {**_annotation(number, k, corners), "score": score}
        for k, name in enumerate(scenes.classes)
        for number, corners, score in _rows(scenes.found[name])
    ]


def _rows(found: Found) -> zip:
    return zip(found.image.tolist(), found.corners, found.scores.tolist())


def _annotation(number: int, category: int, corners: np.ndarray) -> dict[str, Any]:
    x1, y1, x2, y2 = corners.tolist()
    width, height = x2 - x1 + 1, y2 - y1 + 1
    return {
        "image_id": number,
        "category_id": category,
        "bbox": [x1, y1, width, height],
        "area": width * height,
    }


def _known(value: float) -> Optional[float]:
    # pycocotools says -1 where there is nothing to find.
    return None if value < 0 else float(value)


def _mean(values: np.ndarray) -> Optional[float]:
    known = values[values >= 0]
    return float(np.mean(known)) if known.size else None
