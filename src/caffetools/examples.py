"""Write a built-in set of example images: one folder a class, 8x8 PNG files.

``digits``   scikit-learn's 1,797 handwritten digits, real scans (UCI, "Optical Recognition of
             Handwritten Digits"), each of them once a 32x32 bitmap whose 4x4 blocks were counted.
``letters``  A to Z from the text fonts that Matplotlib bundles, distorted at random from a seed
             and brought to the digits' form, so that a net trained on them has something to
             give to the digits: upright strokes of the same weight that fill the same frame.

Both come without a download. The same seed gives the same bytes.
"""

from __future__ import annotations

import argparse
import logging
import string
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

import cv2
import matplotlib
import numpy as np
from matplotlib import ft2font
from PIL import Image, ImageDraw, ImageFont
from sklearn.datasets import load_digits

from caffetools.cli import ToolError, run
from caffetools.files import whole_directory
from caffetools.folders import refuse_foreign

LOG = logging.getLogger("caffetools.examples")

SIDE = 8  # pixels of a finished image
BLOCK = 4  # a finished pixel counts the ink in a block of 4x4 bitmap pixels
BITMAP = SIDE * BLOCK
FULL = BLOCK * BLOCK

LETTERS = string.ascii_uppercase
GLYPH_SIZE = 64  # points at which a glyph is drawn before it is distorted
CANVAS = 160  # holds the largest distorted glyph
DETAIL = 2 * BITMAP  # the raster on which strokes are made thicker or thinner

# scikit-learn's digits are all written alike: the share of ink scatters little about 0.305,
# the stroke touches top and bottom, and about 6 of the 8 columns are written on. A letter
# gets its ink a little before it is enlarged to full height, hence the smaller share.
INK_MEAN, INK_SPREAD, INK_LIMITS = 0.272, 0.027, (0.18, 0.36)
WIDTH_RANGE = (0.5, 0.8)  # the widest that a letter may become, as a share of the frame
MARGIN = 0.05  # room on each side for strokes to grow into

Array = np.ndarray


def to_gray(counts: Array) -> Array:
    """Ink counts 0..16 as gray values 0..255, ink bright; any shape."""
    return np.rint(np.asarray(counts) * (255.0 / FULL)).astype(np.uint8)


def count_blocks(bitmaps: Array) -> Array:
    """Ink counts 0..16 ``(N, 8, 8)`` of the 4x4 blocks of bitmaps of 0 and 1 ``(N, 32, 32)``."""
    blocks = bitmaps.reshape(len(bitmaps), SIDE, BLOCK, SIDE, BLOCK)
    return blocks.sum(axis=(2, 4), dtype=np.int64)


def digits() -> tuple[Array, list[str]]:
    """scikit-learn's digits: gray images ``(1797, 8, 8)`` and the class of each."""
    bunch = load_digits()
    return to_gray(bunch.images), [str(target) for target in bunch.target]


def text_fonts() -> list[Path]:
    """The bundled fonts that write Latin letters, by file name.

    A font counts if its glyphs for A-Z and a-z bear the letters' names; that leaves out
    symbol and extension fonts, which keep other signs there, and the font of last resort,
    which draws one placeholder for all.
    """
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    return [path for path in sorted(folder.glob("*.ttf")) if _writes_letters(path)]


def _writes_letters(path: Path) -> bool:
    font = ft2font.FT2Font(str(path))
    return all(
        font.get_glyph_name(font.get_char_index(ord(letter))) == letter
        for letter in string.ascii_letters
    )


def letters(per_class: int, seed: int) -> tuple[Array, list[str]]:
    """Distorted letters in the digits' form: images ``(26 * per_class, 8, 8)`` and classes.

    Every font writes each letter equally often, up to one. Rotation within 12 degrees, shear
    within 0.3, scale by 0.8 to 1.25 an axis, a shift of up to a sixteenth of the frame.
    """
    # RandomState and not default_rng: NumPy promises its stream for all versions.
    random = np.random.RandomState(seed)
    fonts = [ImageFont.truetype(str(path), GLYPH_SIZE) for path in text_fonts()]
    bitmaps = []
    for letter in LETTERS:
        glyphs = [_draw(font, letter) for font in fonts]
        order = random.permutation(len(glyphs))
        chosen = [glyphs[order[i % len(order)]] for i in range(per_class)]
        bitmaps += [_handwriting(glyph, random) for glyph in chosen]
    return to_gray(count_blocks(np.stack(bitmaps))), [c for c in LETTERS for _ in range(per_class)]


def _draw(font: ImageFont.FreeTypeFont, letter: str) -> Array:
    """One letter, bright in the middle of a dark canvas ``(160, 160)``."""
    image = Image.new("L", (CANVAS, CANVAS))
    left, top, right, bottom = font.getbbox(letter)
    corner = ((CANVAS - left - right) / 2, (CANVAS - top - bottom) / 2)
    ImageDraw.Draw(image).text(corner, letter, fill=255, font=font)
    return np.asarray(image)


def _handwriting(glyph: Array, random: np.random.RandomState) -> Array:
    """A distorted bitmap ``(32, 32)`` of 0 and 1 in which the glyph fills the frame."""
    distorted = cv2.warpAffine(glyph, _affine(random), (CANVAS, CANVAS))
    widest = random.uniform(*WIDTH_RANGE)
    shift = random.uniform(-1, 1) / 16
    ink = float(np.clip(random.normal(INK_MEAN, INK_SPREAD), *INK_LIMITS))
    roomy = _fit(_crop(distorted), (1 - 2 * MARGIN) * widest, shift, margin=MARGIN)
    stroke = _with_ink(roomy, ink)
    bitmap = _fit(_crop(stroke), widest, shift, margin=0.0)
    small = cv2.resize(bitmap, (BITMAP, BITMAP), interpolation=cv2.INTER_AREA)
    return (small > 127).astype(np.uint8)


def _affine(random: np.random.RandomState) -> Array:
    """A random rotation, shear and scale about the canvas' middle, as a 2x3 matrix."""
    angle = np.deg2rad(random.uniform(-12, 12))
    shear = random.uniform(-0.3, 0.3)
    scale = np.diag(np.exp(random.uniform(-1, 1, size=2) * np.log(1.25)))
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = rotation @ np.array([[1.0, shear], [0.0, 1.0]]) @ scale
    middle = np.full(2, CANVAS / 2)
    return np.column_stack([linear, middle - linear @ middle])


def _crop(image: Array) -> Array:
    rows = np.flatnonzero((image > 127).any(axis=1))
    columns = np.flatnonzero((image > 127).any(axis=0))
    return image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _fit(glyph: Array, widest: float, shift: float, margin: float) -> Array:
    """The cropped glyph at full height in a frame of 64x64, no wider than ``widest`` of it."""
    height = round(DETAIL * (1 - 2 * margin))
    width = round(min(glyph.shape[1] * height / glyph.shape[0], DETAIL * widest))
    scaled = cv2.resize(glyph, (max(width, 1), height), interpolation=cv2.INTER_AREA)
    frame = np.zeros((DETAIL, DETAIL), np.uint8)
    top = (DETAIL - height) // 2
    left = int(np.clip((DETAIL - width) / 2 + DETAIL * shift, 0, DETAIL - width))
    frame[top : top + height, left : left + scaled.shape[1]] = scaled
    return frame


def _with_ink(glyph: Array, share: float) -> Array:
    """The glyph with its strokes grown or shrunk until ``share`` of the frame is ink.

    Ink is where the signed distance to the glyph's outline is least, which moves the
    outline by one width everywhere.
    """
    ink = (glyph > 127).astype(np.uint8)
    inside = cv2.distanceTransform(ink, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    outside = cv2.distanceTransform(1 - ink, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    distance = outside - inside
    rank = int(share * distance.size)
    level = np.partition(distance, rank, axis=None)[rank]
    return np.where(distance <= level, 255, 0).astype(np.uint8)


def write(images: Array, classes: Sequence[str], output: Path) -> None:
    """Write gray ``images`` ``(N, H, W)`` as ``output/<class>/<index in the set>.png``."""
    names = set(classes)
    refuse_foreign(output, names.__contains__)
    with whole_directory(output) as folder:
        for name in sorted(names):
            (folder / name).mkdir()
        for index, (image, name) in enumerate(zip(images, classes)):
            path = folder / name / f"{index:05d}.png"
            if not cv2.imwrite(str(path), image):
                raise ToolError(f"{path}: the image could not be written; is the disk full?")
    LOG.info("%s: %d images in %d class folders", output, len(images), len(names))


def main(arguments: Sequence[str]) -> Optional[int]:
    """``python -m caffetools.examples digits|letters --output DIR``."""
    parser = argparse.ArgumentParser(prog="python -m caffetools.examples", description=__doc__)
    sets = parser.add_subparsers(dest="set", required=True, metavar="digits|letters")
    for name, summary in (("digits", "handwritten, 1,797"), ("letters", "printed and distorted")):
        one = sets.add_parser(name, help=summary, description=summary)
        one.add_argument("--output", type=Path, required=True, help="folder of class folders")
    sets.choices["letters"].add_argument("--per-class", type=int, default=200, metavar="N")
    sets.choices["letters"].add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    if options.set == "digits":
        write(*digits(), output=options.output)
    else:
        _check(options.per_class, options.seed)
        LOG.info("%d fonts have the letters", len(text_fonts()))
        write(*letters(options.per_class, options.seed), output=options.output)
    return None


def _check(per_class: int, seed: int) -> None:
    if per_class < 1:
        raise ToolError(f"--per-class: expected at least 1 image a letter, found {per_class}")
    if not 0 <= seed < 2**32:
        raise ToolError(f"--seed: expected a number from 0 to {2**32 - 1}, found {seed}")


if __name__ == "__main__":
    run(main)
