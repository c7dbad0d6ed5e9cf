"""What is wrong with boxes, and which of them can be used.

An error is a box, or an image, that is left out, or a whole set that is read wrongly; a warning is
what was mended or should be looked at. Checks of a box, of corners counted from 0 in an image of
``W`` by ``H`` pixels:

``number``      a corner is no finite number (error)
``inverted``    ``x2 < x1 - 1`` or ``y2 < y1 - 1`` (error)
``empty``       ``x2 = x1 - 1`` or ``y2 = y1 - 1``: no pixel wide or high (error)
``small``       less than a pixel wide or high; it is made one pixel (warning)
``outside``     beyond the image by more than a pixel (error; a warning if it shall be clipped)
``off by one``  beyond the image by a pixel at most; clipped (warning)
``class``       a class that is not among those told (error)
``twice``       a box that stands there twice, or an image annotated twice (warning)

and of an image: ``size`` and ``rotation`` (its annotation is for an image of another shape, as of
one that its EXIF entry has not turned yet), ``no boxes``. Of all: ``counting`` (corners that were
counted from another pixel) and ``classes`` (with no box).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple, Optional

from caffetools.dataset.entry import unlistable
from caffetools.detection.annotated import Annotated, Marked
from caffetools.detection.look import Look
from caffetools.detection.manifest import BACKGROUND, Box, Corners
from caffetools.preflight.finding import ERROR, WARNING, Finding
from caffetools.suggest import did_you_mean

# What the two decimals of COCO's numbers can be beyond the border, or short of a pixel, by chance.
ROUNDING = 0.05
# So many boxes a pixel beyond the image tell of all boxes, not of themselves.
MANY = 3
_LEFT_OUT = "mend the box; it is left out"


class Judged(NamedTuple):
    """One image's boxes that can be used, what was found, and why the image cannot be used.

    ``signs`` counts what corners tell of how pixels were counted: ``before`` (a pixel before the
    image), ``behind`` (a pixel behind it) and ``zero`` (the first pixel, counted from 0).
    """

    boxes: tuple[Box, ...] = ()
    findings: tuple[Finding, ...] = ()
    dropped: str = ""
    signs: Mapping[str, int] = {}


def judge(
    image: Annotated, look: Look, classes: Optional[Collection[str]] = None, clip: bool = False
) -> Judged:
    """The boxes of one image that can be used, in their order, and what was found.

    Args:
        image: as its annotation knows it.
        look: the image itself.
        classes: the names that may occur; None allows all.
        clip: boxes that reach over the border are clipped, not left out.
    """
    findings = _shape(image, look)
    if any(one.level == ERROR for one in findings):
        return Judged((), tuple(findings), "its annotation is for an image of another shape")
    boxes: dict[tuple[str, Corners], Box] = {}
    signs: Counter[str] = Counter()
    for mark in image.boxes:
        corners = _scaled(mark.corners, look) if image.relative else mark.corners
        signs.update(_signs(corners, look))
        fitted, found = _fitted(mark, corners, look, clip)
        found += _class_findings(mark, classes)
        if fitted and (mark.class_name, fitted) in boxes:
            first = boxes[mark.class_name, fitted].source
            twice = f"the same box of the same class as {first}; it is left out"
            found.append(Finding(WARNING, "twice", mark.place, twice, "remove it"))
        elif fitted and not any(one.level == ERROR for one in found):
            flags = (mark.difficult, mark.truncated, mark.crowd)
            boxes[mark.class_name, fitted] = Box(mark.class_name, fitted, *flags, mark.place)
        findings += found
    if not boxes:
        findings.append(_no_boxes(image))
    return Judged(tuple(boxes.values()), tuple(findings), "", signs)


def _no_boxes(image: Annotated) -> Finding:
    lacks = "it has none" if image.source else "it has no annotation"
    lacks = "none of its boxes can be used" if image.boxes else lacks
    found = f"expected boxes in {image.path!r}, and {lacks}"
    fix = "annotate it, or take it out; --keep-empty keeps such images"
    return Finding(WARNING, "no boxes", image.source or image.path, found, fix)


# --- an image ---------------------------------------------------------------------------


def _shape(image: Annotated, look: Look) -> list[Finding]:
    """What the size in the annotation, and the file's EXIF entry, tell."""
    place, size = image.source or image.path, (look.width, look.height)
    fix = "turn the file's pixels as its EXIF entry says and remove the entry, then annotate anew"
    if image.size is None:
        if look.orientation == 1 or not image.boxes:
            return []
        found = (
            f"{image.path!r} is turned by its EXIF entry (orientation {look.orientation}), and "
            "its annotation does not tell for which of the two its boxes are; expected those of "
            f"the turned image, {_times(size)}"
        )
        return [Finding(WARNING, "rotation", place, found, "look at its boxes")]
    if image.size == size:
        if look.orientation == 1 or look.turned:
            return []
        found = (
            f"{image.path!r} is turned or mirrored by its EXIF entry (orientation "
            f"{look.orientation}), which its size does not tell; expected boxes of the turned image"
        )
        return [Finding(WARNING, "rotation", place, found, "look at its boxes")]
    told = f"expected boxes for {_times(size)} pixels, found an annotation for {_times(image.size)}"
    if image.size == size[::-1] and look.turned:
        found = f"{told}: boxes of {image.path!r} before its EXIF entry turns it"
        return [Finding(ERROR, "rotation", place, found, fix)]
    swapped = ", width and height swapped" if image.size == size[::-1] else ""
    found = f"{told}{swapped}, the size of {image.path!r}"
    return [Finding(ERROR, "size", place, found, "mend the size, or scale the boxes")]


def _times(size: tuple[float, float]) -> str:
    return f"{size[0]:.6g} x {size[1]:.6g}"


# --- a box ------------------------------------------------------------------------------


def _scaled(shares: Corners, look: Look) -> Corners:
    """Corners of a box whose edges are shares; to the 0.01 pixels that six decimals tell."""
    left, top, right, bottom = shares
    edges = (left * look.width, top * look.height)
    far = (right * look.width - 1, bottom * look.height - 1)
    x1, y1, x2, y2 = (round(value, 2) + 0.0 if math.isfinite(value) else value
                      for value in (*edges, *far))  # fmt: skip
    return x1, y1, x2, y2


def _signs(corners: Corners, look: Look) -> list[str]:
    x1, y1, x2, y2 = corners
    before = min(x1, y1) == -1
    behind = x2 == look.width or y2 == look.height
    told = {"before": before, "behind": behind, "zero": min(x1, y1) == 0}
    return [sign for sign, is_seen in told.items() if is_seen]


def _fitted(
    mark: Marked, corners: Corners, look: Look, clip: bool
) -> tuple[Optional[Corners], list[Finding]]:
    """The corners within the image, or None, and what was found."""
    told = ", ".join(f"{value:.6g}" for value in corners)

    def finding(check: str, found: str, fix: str = _LEFT_OUT, level: str = ERROR) -> Finding:
        return Finding(level, check, mark.place, f"{found}: {told}, counted from 0", fix)

    if not all(map(math.isfinite, corners)):
        return None, [finding("number", "expected four finite numbers as corners")]
    x1, y1, x2, y2 = corners
    width, height = x2 - x1 + 1, y2 - y1 + 1
    if min(width, height) < -ROUNDING:
        return None, [finding("inverted", "expected x1 <= x2 and y1 <= y2, found them inverted")]
    if min(width, height) <= ROUNDING:
        return None, [finding("empty", "expected a box, found one without a pixel")]
    found = []
    if min(width, height) < 1 - ROUNDING:
        found.append(
            finding("small", "less than a pixel; made one", "look at the box", level=WARNING)
        )
    x2, y2 = max(x2, x1), max(y2, y1)
    size = f"the image of {look.width} x {look.height}"
    if x2 < 0 or y2 < 0 or x1 > look.width - 1 or y1 > look.height - 1:
        return None, [*found, finding("outside", f"a box outside {size}")]
    beyond = max(-x1, -y1, x2 - (look.width - 1), y2 - (look.height - 1))
    if beyond > 1 and not clip:
        fix = "mend the box; it is left out, or clipped with --clip"
        return None, [*found, finding("outside", f"a box that reaches over {size}", fix)]
    if beyond > ROUNDING:
        check, by = ("off by one", "a pixel") if beyond <= 1 else ("outside", f"{beyond:.6g}")
        reaches = f"reaches over {size} by {by}, and is clipped"
        found.append(finding(check, reaches, "look at how corners are counted", WARNING))
    inner = (max(x1, 0.0), max(y1, 0.0), min(x2, look.width - 1.0), min(y2, look.height - 1.0))
    return inner, found


def _class_findings(mark: Marked, classes: Optional[Collection[str]]) -> list[Finding]:
    name = mark.class_name
    if not name or name == BACKGROUND or unlistable(name):
        found = f"expected a class' name in one line, found {name[:40]!r}"
        return [Finding(ERROR, "class", mark.place, found, "name the class")]
    if classes is not None and name not in classes:
        found = f"the class {name[:40]!r} is not among those told{did_you_mean(name, classes)}"
        return [Finding(ERROR, "class", mark.place, found, "mend the name, or add the class")]
    return []


# --- all of them ------------------------------------------------------------------------


def counting(signs: Mapping[str, int], place: str, first_pixel: Optional[int]) -> list[Finding]:
    """Whether all corners seem to be counted from another pixel than was thought.

    Args:
        signs: the sum of all images'.
        place: the annotations.
        first_pixel: what the first pixel was read as, in a format that leaves it open.
    """
    before, behind, zero = (signs.get(name, 0) for name in ("before", "behind", "zero"))
    found = []
    if before >= MANY:
        told = f"{before} boxes begin a pixel before the image, as if corners were counted from 0"
        fix = "--first-pixel 0" if first_pixel == 1 else "add 1 to all corners"
        found.append(Finding(ERROR, "counting", place, told, fix))
    if behind >= MANY and not before:
        told = f"{behind} boxes end a pixel behind the image"
        if zero:
            told += ", and others begin at its first pixel: the far corner is none of the box' own"
            fix = "subtract 1 from x2 and y2 of all boxes"
        else:
            told += ", and none begins at its first: corners seem to be counted from 1"
            fix = "--first-pixel 1" if first_pixel == 0 else "subtract 1 from all corners"
        found.append(Finding(ERROR, "counting", place, told, fix))
    return found


def class_gaps(
    used: Mapping[str, Iterable[str]], classes: Sequence[str], place: str
) -> list[Finding]:
    """Classes with no box at all, or with none in train; ``used`` are each split's classes."""
    everywhere = {name for names in used.values() for name in names}
    trained = set(used.get("train", ()))
    found = []
    for name in classes:
        if name not in everywhere:
            lacking = f"the class {name!r} has no box"
            fix = "add some, or take the class out"
        elif name not in trained:
            lacking = f"the class {name!r} has no box in train, so that no net learns it"
            fix = "divide the images otherwise, or add some"
        else:
            continue
        found.append(Finding(WARNING, "classes", place, lacking, fix))
    return found
