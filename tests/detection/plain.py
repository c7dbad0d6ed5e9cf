"""Detection's numbers by plain loops over Python's floats, one box at a time, to compare with."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

Box = Sequence[float]


def iou(a: Box, b: Box) -> float:
    """Intersection over union, both corners included."""
    width = min(a[2], b[2]) - max(a[0], b[0]) + 1
    height = min(a[3], b[3]) - max(a[1], b[1]) + 1
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / (area(a) + area(b) - shared)


def area(box: Box) -> float:
    return (box[2] - box[0] + 1) * (box[3] - box[1] + 1)


def way(box: Box, target: Box) -> list[float]:
    """From a box to its target, as a net learns it."""
    width, height = box[2] - box[0] + 1, box[3] - box[1] + 1
    wide, high = target[2] - target[0] + 1, target[3] - target[1] + 1
    x = (target[0] + wide / 2) - (box[0] + width / 2)
    y = (target[1] + high / 2) - (box[1] + height / 2)
    return [x / width, y / height, math.log(wide / width), math.log(high / height)]


def moved(box: Box, move: Sequence[float]) -> list[float]:
    """The box that a move leads to."""
    width, height = box[2] - box[0] + 1, box[3] - box[1] + 1
    x, y = box[0] + width / 2 + move[0] * width, box[1] + height / 2 + move[1] * height
    wide, high = width * math.exp(move[2]), height * math.exp(move[3])
    return [x - wide / 2, y - high / 2, x + wide / 2, y + high / 2]


def suppressed(boxes: Sequence[Box], scores: Sequence[float], threshold: float) -> list[int]:
    """The indices that greedy suppression keeps, best first."""
    kept: list[int] = []
    for index in sorted(range(len(boxes)), key=lambda index: -scores[index]):
        if all(iou(boxes[index], boxes[other]) <= threshold for other in kept):
            kept.append(index)
    return kept


def random_boxes(count: int, seed: int, size: int = 60) -> Tensor:
    """Boxes of whole corners within ``size`` pixels, many of which overlap."""
    generator = torch.Generator().manual_seed(seed)
    corners = torch.randint(0, size, (count, 2, 2), generator=generator).sort(1).values
    return corners.reshape(count, 4).float()


def drawn(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
