"""Compose a detection data set of handwritten digits on photographs, with exact boxes.

Each image is a crop of one of scikit-learn's two photographs, scaled to ``--size``, with 1 to 4 of
its 1,797 handwritten digits of 20 to 56 pixels in it, written in dark or bright ink. A box is the
least that holds all of a digit's ink; two boxes overlap by less than 0.1 (intersection over union).
Writes VOC's layout to ``--output``: ``JPEGImages/NNNNN.png``, ``Annotations/NNNNN.xml`` and
``ImageSets/Main/train.txt``, ``val.txt``, ``test.txt``, 70, 15 and 15 in a hundred images.

The digits and the photographs are divided first, so that neither a piece of handwriting nor a
place in a photograph is in two splits. No download; the same seed gives the same bytes.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from sklearn.datasets import load_sample_images

from caffetools.cli import ToolError, run
from caffetools.dataset.entry import SPLITS
from caffetools.detection import voc
from caffetools.detection.manifest import Box, Corners
from caffetools.examples import digits
from caffetools.files import whole_directory, write_text
from caffetools.folders import refuse_foreign

LOG = logging.getLogger("caffetools.detection.compose")

FOLDERS = ("Annotations", "ImageSets", "JPEGImages")
IMAGES_UP_TO = (0.7, 0.85, 1.0)  # shares of all, where each split ends
SOURCES_UP_TO = (0.6, 0.8, 1.0)  # of the digits, and of the photographs' columns
DIGIT_SIDES = (20, 56)  # pixels of a digit's frame
CROP_SIDES = (80, 128)  # pixels of the photograph; a fifth of its columns has 128
MOST_DIGITS = 4
MAX_IOU = 0.1
ATTEMPTS = 20  # at a place for one digit
# Ink is where a digit, from 0 to 255, is above the first; it covers fully from the second on.
FAINT, FULL = 96, 192

Array = np.ndarray


class Sources(NamedTuple):
    """What the images of one split are made of.

    Attributes:
        photographs: BGR, ``(H, W, 3)`` each.
        digits: gray ``(N, 8, 8)``, ink bright.
        classes: of each digit.
    """

    photographs: list[Array]
    digits: Array
    classes: list[str]


def sources(random: np.random.RandomState) -> dict[str, Sources]:
    """The digits in a random order, and the photographs by columns, divided between the splits."""
    images, classes = digits()
    order = random.permutation(len(images))
    photographs = [photo[:, :, ::-1] for photo in load_sample_images().images]
    divided, start = {}, 0.0
    for split, end in zip(SPLITS, SOURCES_UP_TO):
        mine = order[round(start * len(order)) : round(end * len(order))]
        strips = [p[:, round(start * p.shape[1]) : round(end * p.shape[1])] for p in photographs]
        divided[split] = Sources(strips, images[mine], [classes[i] for i in mine])
        start = end
    return divided


def coverage(digit: Array, side: int) -> Array:
    """How far ink covers each pixel of a digit, uint8 ``(h, w)``, tight about the ink.

    It is enlarged to ``side`` pixels by OpenCV's exact bilinear interpolation, whose bytes are the
    same on all machines, and made as sharp as a pen's stroke.
    """
    large = cv2.resize(digit, (side, side), interpolation=cv2.INTER_LINEAR_EXACT).astype(np.int32)
    cover = np.clip((large - FAINT) * 255 // (FULL - FAINT), 0, 255).astype(np.uint8)
    rows, columns = np.flatnonzero(cover.any(axis=1)), np.flatnonzero(cover.any(axis=0))
    return cover[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def background(photographs: Sequence[Array], size: int, random: np.random.RandomState) -> Array:
    """A random square of a photograph, scaled to ``size``, perhaps mirrored."""
    photograph = photographs[random.randint(len(photographs))]
    side = random.randint(CROP_SIDES[0], CROP_SIDES[1] + 1)
    top = random.randint(photograph.shape[0] - side + 1)
    left = random.randint(photograph.shape[1] - side + 1)
    crop = photograph[top : top + side, left : left + side]
    crop = crop[:, ::-1] if random.randint(2) else crop
    whole = np.ascontiguousarray(crop)
    return cv2.resize(whole, (size, size), interpolation=cv2.INTER_LINEAR_EXACT)


def overlap(one: Corners, other: Corners) -> float:
    """Intersection over union of two boxes, corners included."""
    width = min(one[2], other[2]) - max(one[0], other[0]) + 1
    height = min(one[3], other[3]) - max(one[1], other[1]) + 1
    shared = max(width, 0) * max(height, 0)
    areas = [(box[2] - box[0] + 1) * (box[3] - box[1] + 1) for box in (one, other)]
    return shared / (sum(areas) - shared)


def written(image: Array, cover: Array, corners: Corners, random: np.random.RandomState) -> None:
    """Write a digit into the image, in ink that is bright on dark ground and dark on bright."""
    x, y = int(corners[0]), int(corners[1])
    place = image[y : y + cover.shape[0], x : x + cover.shape[1]]
    is_dark = int(place.mean()) < 128
    ink = random.randint(200, 256, 3) if is_dark else random.randint(0, 56, 3)
    share = cover[:, :, None].astype(np.int32)
    place[...] = (place * (255 - share) + ink * share + 127) // 255


def compose(made_of: Sources, size: int, random: np.random.RandomState) -> tuple[Array, list[Box]]:
    """One image, BGR ``(size, size, 3)``, and the boxes of the digits in it, at least one."""
    image = background(made_of.photographs, size, random)
    boxes: list[Box] = []
    for _ in range(random.randint(1, MOST_DIGITS + 1)):
        number = random.randint(len(made_of.digits))
        side = random.randint(DIGIT_SIDES[0], DIGIT_SIDES[1] + 1)
        cover = coverage(made_of.digits[number], side)
        height, width = cover.shape
        for _ in range(ATTEMPTS):
            x, y = random.randint(size - width + 1), random.randint(size - height + 1)
            corners = (float(x), float(y), float(x + width - 1), float(y + height - 1))
            if all(overlap(corners, box.corners) < MAX_IOU for box in boxes):
                written(image, cover, corners, random)
                boxes.append(Box(made_of.classes[number], corners))
                break
    return image, boxes


def write(output: Path, images: int, seed: int, size: int) -> None:
    """Write the data set, whole or not at all."""
    refuse_foreign(output, FOLDERS.__contains__)
    # RandomState and not default_rng: NumPy promises its stream for all versions.
    random = np.random.RandomState(seed)
    divided = sources(random)
    ends = [round(share * images) for share in IMAGES_UP_TO]
    with whole_directory(output) as folder:
        for name in FOLDERS:
            (folder / name).mkdir()
        start = 0
        for split, end in zip(SPLITS, ends):
            names = [f"{number:05d}" for number in range(start, end)]
            for name in names:
                image, boxes = compose(divided[split], size, random)
                path = folder / "JPEGImages" / f"{name}.png"
                if not cv2.imwrite(str(path), image):
                    raise ToolError(f"{path}: the image could not be written; is the disk full?")
                told = voc.document(path.name, (size, size), boxes)
                (folder / "Annotations" / f"{name}.xml").write_text(told, encoding="utf-8")
            listed = "".join(f"{name}\n" for name in names)
            write_text(folder / "ImageSets" / "Main" / f"{split}.txt", listed)
            start = end
    LOG.info("%s: %d images of %d x %d pixels", output, images, size, size)


def main(arguments: Sequence[str]) -> None:
    """``python -m caffetools.detection.compose --output DIR --images N``."""
    parser = argparse.ArgumentParser(
        prog="python -m caffetools.detection.compose",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--images", type=int, required=True, metavar="N")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", type=int, default=160, metavar="PIXELS", help="of a side")
    options = parser.parse_args(arguments)
    if not 10 <= options.images <= 100_000:
        raise ToolError(f"--images: expected 10 to 100000, found {options.images}")
    if not 0 <= options.seed < 2**32:
        raise ToolError(f"--seed: expected a number from 0 to {2**32 - 1}, found {options.seed}")
    if not 64 <= options.size <= 1024:
        raise ToolError(f"--size: expected 64 to 1024 pixels, found {options.size}")
    write(options.output, options.images, options.seed, options.size)


if __name__ == "__main__":
    run(main)
