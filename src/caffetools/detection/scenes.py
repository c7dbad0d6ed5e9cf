"""What evaluation begins with: the images of a split, their boxes and what was found in them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from caffetools.cli import ToolError
from caffetools.detection import detections, manifest
from caffetools.detection.class_names import read_classes
from caffetools.detection.detections import Detection
from caffetools.detection.manifest import Box, Corners, Picture
from caffetools.detection.matching import Found, Truth

# In pixels: more than any image's sides, and far from where areas overflow.
_FARTHEST = 1e7


@dataclass(frozen=True)
class Scenes:
    """A split's images and, by class, their boxes and detections.

    Attributes:
        classes: the classes' names without the background.
        pictures: the images that were not dropped; their places are the numbers in the arrays.
        truth: the boxes of each class; a crowd counts as difficult, since VOC knows none.
        boxes: the entries of the manifest that ``truth`` was made of, in its order.
        found: the detections of each class, in the table's order.
    """

    classes: list[str]
    pictures: list[Picture]
    truth: dict[str, Truth]
    boxes: dict[str, list[Box]]
    found: dict[str, Found]


def read(manifest_path: Path, split: str, detections_path: Path, classes_path: Path) -> Scenes:
    """Read and check all three files.

    Raises :class:`ToolError` for a class or an image that is not there, corners that are no box,
    and scores that are no numbers, with the line.
    """
    classes = read_classes(classes_path)
    pictures = _of_split(manifest_path, split)
    found = detections.read(detections_path)
    numbers = {picture.path: number for number, picture in enumerate(pictures)}
    boxes: dict[str, list[Box]] = {name: [] for name in classes}
    images: dict[str, list[int]] = {name: [] for name in classes}
    for number, picture in enumerate(pictures):
        if not (picture.width > 0 and picture.height > 0):
            raise ToolError(
                f"{manifest_path}: {picture.path}: expected the image's width and height, found "
                f"{picture.width} x {picture.height}; make the manifest again"
            )
        for box in picture.boxes:
            place = box.source or f"{manifest_path}: {picture.path}"
            _check_class(place, box.class_name, classes_path, boxes)
            _check_corners(place, box.corners)
            boxes[box.class_name].append(box)
            images[box.class_name].append(number)
    rows: dict[str, list[Detection]] = {name: [] for name in classes}
    for line, one in enumerate(found, 2):
        place = f"{detections_path}:{line}"
        _check_class(place, one.class_name, classes_path, rows)
        if one.path not in numbers:
            raise ToolError(
                f"{place}: expected an image of split {split} of {manifest_path}, found "
                f"{one.path}; detect in the images of that split"
            )
        if not math.isfinite(one.score):
            raise ToolError(f"{place}: expected a number as the score, found {one.score}")
        _check_corners(place, one.corners)
        rows[one.class_name].append(one)
    return Scenes(
        classes,
        pictures,
        {name: _truth(images[name], boxes[name]) for name in classes},
        boxes,
        {name: _found(rows[name], numbers) for name in classes},
    )


def _of_split(path: Path, split: str) -> list[Picture]:
    every = [picture for picture in manifest.read(path) if not picture.dropped]
    pictures = [picture for picture in every if picture.split == split]
    if not pictures:
        splits = sorted({picture.split for picture in every})
        raise ToolError(
            f"{path}: expected images of split {split!r}, found none; its splits are "
            f"{', '.join(map(repr, splits)) or 'none'}"
        )
    twice = [name for name, n in Counter(picture.path for picture in pictures).items() if n > 1]
    if twice:
        raise ToolError(f"{path}: {twice[0]} stands there twice; expected an entry for each image")
    return pictures


def _check_class(place: str, name: str, path: Path, known: dict[str, list]) -> None:
    if name not in known:
        raise ToolError(
            f"{place}: expected a class of {path}, found {name!r}; give the list of classes that "
            "the data set and the net have"
        )


def _check_corners(place: str, corners: Corners) -> None:
    x1, y1, x2, y2 = corners
    # Fractional boxes may be less than a pixel wide, and end before the pixel that they begin with.
    if not (x2 - x1 > -1 and y2 - y1 > -1 and max(map(abs, corners)) <= _FARTHEST):
        raise ToolError(
            f"{place}: expected corners x1,y1,x2,y2 of a box in pixels, found "
            f"{','.join(map('{:g}'.format, corners))}"
        )


def _truth(images: Sequence[int], boxes: Sequence[Box]) -> Truth:
    return Truth(
        np.array(images, np.int64),
        np.array([box.corners for box in boxes], np.float64).reshape(-1, 4),
        np.array([box.difficult or box.crowd for box in boxes], bool),
    )


def _found(rows: Sequence[Detection], numbers: dict[str, int]) -> Found:
    return Found(
        np.array([numbers[row.path] for row in rows], np.int64),
        np.array([row.corners for row in rows], np.float64).reshape(-1, 4),
        np.array([row.score for row in rows], np.float64),
    )
