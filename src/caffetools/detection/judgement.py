"""A split's detections, judged: what the tables and the figures tell of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Optional

import numpy as np

from caffetools.detection import average_precision, coco_metrics, mistakes
from caffetools.detection import operating_point as points
from caffetools.detection.coco_metrics import CocoMetrics
from caffetools.detection.matching import Matches, match
from caffetools.detection.mistakes import SIZES, FalsePositives
from caffetools.detection.operating_point import OperatingPoint
from caffetools.detection.scenes import Scenes


@dataclass(frozen=True)
class Judgement:
    """All classes' detections, judged at one overlap, and from one score on; by class' name."""

    scenes: Scenes
    matches: dict[str, Matches]
    false: dict[str, FalsePositives]
    point: OperatingPoint
    coco: CocoMetrics

    @classmethod
    def of(
        cls,
        scenes: Scenes,
        iou: float = 0.5,
        score: Optional[float] = None,
        groups: Optional[mistakes.Groups] = None,
    ) -> Judgement:
        """Judge; without a ``score``, from that of the best F1 on."""
        matches = {
            name: match(scenes.found[name], scenes.truth[name], iou) for name in scenes.classes
        }
        false = {
            name: mistakes.false_positives(name, scenes, matches[name], groups)
            for name in scenes.classes
        }
        objects = sum(truth.objects for truth in scenes.truth.values())
        if score is None:
            point = points.best(matches.values(), objects)
        else:
            point = points.given(matches.values(), objects, score)
        return cls(scenes, matches, false, point, coco_metrics.evaluate(scenes))

    def curve(self, name: str) -> Optional[average_precision.Curve]:
        """A class' curve; None where it has no objects."""
        objects = self.scenes.truth[name].objects
        return average_precision.curve(self.matches[name], objects) if objects else None

    def row(self, name: str) -> dict[str, Any]:
        """What ``classes.csv`` tells of a class."""
        truth, false, drawn = self.scenes.truth[name], self.false[name], self.curve(name)
        return {
            "class": name,
            "objects": truth.objects,
            "difficult": len(truth.difficult) - truth.objects,
            "detections": len(self.matches[name].order),
            **{
                metric: None if drawn is None else measure(drawn)
                for metric, measure in average_precision.METRICS.items()
            },
            "coco_ap": self.coco.ap[name],
            "coco_ap50": self.coco.ap50[name],
            "first": false.considered,
            "first_right": false.right,
            **false.counts(),
            "missed": int(np.count_nonzero(self.missed(name))),
        }

    def missed(self, name: str) -> np.ndarray:
        """(B,) which of a class' boxes are missed objects."""
        return mistakes.missed(self.scenes.truth[name], self.matches[name], self.point.score)

    def sizes(self, name: str) -> dict[str, np.ndarray]:
        """(B,) the sizes of a class' boxes, as places in SIZES, in pixels and by share."""
        truth = self.scenes.truth[name]
        sides = np.array([(one.width, one.height) for one in self.scenes.pictures], np.float64)
        return {
            "pixels": mistakes.sizes(truth.corners),
            "share_of_image": mistakes.relative_sizes(truth.corners, sides[truth.image]),
        }

    def missed_by_size(self) -> dict[str, dict[str, dict[str, int]]]:
        """Objects and missed ones, by the way to measure and by size."""
        counts = {way: np.zeros((2, len(SIZES)), int) for way in ("pixels", "share_of_image")}
        for name in self.scenes.classes:
            objects = ~self.scenes.truth[name].difficult
            for way, size in self.sizes(name).items():
                for row, which in enumerate((objects, self.missed(name))):
                    counts[way][row] += np.bincount(size[which], minlength=len(SIZES))
        return {
            way: {
                size: {"objects": int(objects), "missed": int(missed)}
                for size, objects, missed in zip(SIZES, *table)
            }
            for way, table in counts.items()
        }
