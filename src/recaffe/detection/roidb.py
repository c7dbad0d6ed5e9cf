"""Images and the objects in them, as a detector is trained on them: py-faster-rcnn's roidb."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from recaffe.errors import DataError


class Objects(NamedTuple):
    """One image and what is in it.

    Attributes:
        image: its path.
        boxes: corners ``(G, 4)`` in its pixels, float32.
        classes: ``(G,)``, from 1; 0 is the background.
        mirrored: left and right are to be changed in the image; in ``boxes`` they are.
        place: where this was read from, for errors.
    """

    image: str
    boxes: np.ndarray
    classes: np.ndarray
    mirrored: bool
    place: str

    def mirror(self, width: int) -> Objects:
        """The same of the mirrored image, which is ``width`` pixels wide."""
        boxes = self.boxes.copy()
        boxes[:, [0, 2]] = width - 1 - self.boxes[:, [2, 0]]
        return self._replace(boxes=boxes, mirrored=not self.mirrored)


def read_roidb(source: str, root: str, classes: int) -> list[Objects]:
    """The images of a file with a line of JSON for each, such as ::

        {"image": "a.jpg", "boxes": [[10, 20, 109, 219]], "classes": [3]}

    It may tell the image's ``sha256`` as well, for those who ask whether it changed.

    Args:
        root: what stands before each path, as it is.
        classes: how many there are, the background's included.

    Raises:
        DataError: no such file, no image in it, or a line of another form; with its number.
    """
    try:
        with Path(source).open(encoding="utf-8") as stream:
            found = [
                _objects(_line(line, place), root, classes, place)
                for place, line in (
                    (f"{source}:{number}", line) for number, line in enumerate(stream, 1)
                )
            ]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{source}: cannot read the images' boxes: {error}; paths in a prototxt are relative "
            "to the working directory"
        ) from None
    if not found:
        raise DataError(f"{source}: names no image; write a line of JSON for each")
    return found


def _line(line: str, place: str) -> Mapping[str, Any]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{place}: no JSON: {error}") from None
    names = {"image", "boxes", "classes"}
    own = set(found) - {"sha256"} if isinstance(found, dict) else set()
    if own != names or not isinstance(found["image"], str):
        raise DataError(
            f'{place}: expected {{"image": path, "boxes": [[x1, y1, x2, y2], …], "classes": '
            f"[…]}}, found {line.strip()[:80]!r}"
        )
    return found


def from_dicts(roidb: Iterable[Mapping[str, Any]], classes: int) -> list[Objects]:
    """The images of py-faster-rcnn's roidb: dicts with image, boxes, gt_classes and flipped.

    What is of class 0 is no ground truth, and left out.

    Raises:
        DataError: an entry of another form, by its number, from 0.
    """
    found = []
    for number, entry in enumerate(roidb):
        place = f"roidb[{number}]"
        try:
            own = np.asarray(entry["gt_classes"]) != 0
            chosen = {
                "image": str(entry["image"]),
                "boxes": np.asarray(entry["boxes"], np.float32).reshape(-1, 4)[own],
                "classes": np.asarray(entry["gt_classes"])[own],
            }
        except (KeyError, ValueError, TypeError, IndexError) as error:
            raise DataError(
                f"{place}: expected image, boxes (G, 4) and gt_classes (G,) ({error!r})"
            ) from None
        objects = _objects(chosen, "", classes, place)
        found.append(objects._replace(mirrored=bool(entry.get("flipped", False))))
    if not found:
        raise DataError("the roidb is empty; give it an image")
    return found


def _objects(entry: Mapping[str, Any], root: str, classes: int, place: str) -> Objects:
    try:
        boxes = np.asarray(entry["boxes"], np.float32).reshape(-1, 4)
        labels = np.asarray(entry["classes"])
        fits = labels.shape == (len(boxes),) and (labels == labels.astype(np.int64)).all()
    except (ValueError, TypeError, OverflowError):
        fits = False
    if not fits:
        raise DataError(
            f"{place}: expected boxes of four numbers and a whole number, its class, for each"
        )
    if len(labels) and not (labels.min() >= 1 and labels.max() < classes):
        raise DataError(
            f"{place}: expected classes from 1 to {classes - 1}, since num_classes is {classes}, "
            f"found {labels.min()} to {labels.max()}"
        )
    # Coordinates of 2 ** 24 and more would not be exact.
    bad = ~((np.abs(boxes) < 1 << 24).all(1) & (boxes[:, 2:] >= boxes[:, :2]).all(1))
    if bad.any():
        raise DataError(
            f"{place}: expected x1, y1, x2, y2, the second corner not before the first, found "
            f"{boxes[bad][0].tolist()}"
        )
    return Objects(root + entry["image"], boxes, labels.astype(np.int64), False, place)
