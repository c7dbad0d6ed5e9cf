"""Classify images, or folders of them, with a bundle; write a table and an HTML page.

The bundle's checksums are verified first. Images go through ``caffe.Classifier`` as the bundle's
``preprocessing.json`` says, which is what its parity test was about. The table has a row an image:
``image``, ``problem`` (why it has no classes; empty where it has), ``class_1``, ``probability_1``
and so on. The page opens offline: pictures and style are inside it.
"""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional

import cv2
import numpy as np

from caffetools.bundle import contents, preprocessing, readers
from caffetools.bundle.preprocessing import Preprocessing
from caffetools.classifying import best, predict
from caffetools.cli import ToolError, run
from caffetools.evaluate import class_names
from caffetools.files import write_csv, write_text
from caffetools.images import EXTENSIONS, read_image
from caffetools.pages import data_url, environment

LOG = logging.getLogger("caffetools.bundle")

UNREADABLE = "cannot be decoded as an image"
_THUMBNAIL = 160  # pixels along the longer side
_TEMPLATES = Path(__file__).with_name("templates")


@dataclass
class Row:
    """One image: its most probable classes with their probabilities, or what is wrong."""

    path: Path
    problem: str = ""
    best: list[tuple[str, float]] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The path as it was given, as text that any encoding of files survives."""
        return os.fsencode(str(self.path)).decode("utf-8", "backslashreplace")


def find_images(given: Sequence[Path]) -> list[Path]:
    """The files given and the images in the folders given, at any depth, by name.

    Hidden files and folders do not count, and links to folders are not followed. Raises
    :class:`ToolError` for what is not there and for a folder without images.
    """
    found: list[Path] = []
    for path in given:
        if path.is_dir():
            inside = sorted(_walk(path))
            if not inside:
                raise ToolError(
                    f"{path}: expected images in this folder, found none; their names end in "
                    f"{', '.join(sorted(EXTENSIONS))}"
                )
            found += inside
        elif path.exists():
            found.append(path)
        else:
            raise ToolError(f"{path}: expected an image or a folder of images, found nothing")
    return list(dict.fromkeys(found))


def _walk(folder: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(str(folder)):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if not name.startswith(".") and Path(name).suffix.lower() in EXTENSIONS:
                yield Path(place, name)


def classify(folder: Path, paths: Sequence[Path], top: int, oversample: bool) -> list[Row]:
    """The rows of the images at ``paths``, by the bundle in ``folder``, which is verified first.

    ``oversample`` takes the mean over ten crops. Raises :class:`ToolError` where the bundle is
    not whole.
    """
    contents.verify(folder)
    steps = preprocessing.read(folder)
    classifier = readers.classifier(folder, steps)
    rows = [Row(path) for path in paths]
    scores = predict(classifier, _readable(rows, steps), oversample)
    answered = [row for row in rows if not row.problem]
    if answered:
        labels = class_names(folder / contents.LABELS, scores.shape[1])
        for row, of_image in zip(answered, scores):
            row.best = [(labels[place], float(of_image[place])) for place in best(of_image, top)]
    return rows


def _readable(rows: Sequence[Row], steps: Preprocessing) -> Iterator[np.ndarray]:
    """The images that can be read, for ``caffe.Classifier``; the others' rows get a problem."""
    for row in rows:
        image = steps.image(row.path) if row.path.is_file() else None
        if image is None:
            row.problem = UNREADABLE
            continue
        yield steps.classifier_image(image)


# --- what is written --------------------------------------------------------------------


def _width(rows: Sequence[Row], top: int) -> int:
    """How many classes an image has: as many as there are where ``top`` asks for more."""
    return max([len(row.best) for row in rows] + [0]) or top


def write_table(path: Path, rows: Sequence[Row], top: int) -> None:
    """Write the rows as CSV."""
    width = range(1, _width(rows, top) + 1)
    ranks = [f"{name}_{rank}" for rank in width for name in ("class", "probability")]
    write_csv(path, ["image", "problem", *ranks], (_cells(row, len(ranks)) for row in rows))


def _cells(row: Row, width: int) -> list[str]:
    cells = [
        cell for label, probability in row.best for cell in (label, format(probability, ".6g"))
    ]
    return [row.name, row.problem, *cells, *[""] * (width - len(cells))]


def page(rows: Sequence[Row], top: int, oversample: bool) -> str:
    """The rows as an HTML page."""
    shown = [
        {
            "name": row.name,
            "problem": row.problem,
            "best": row.best,
            "thumbnail": None if row.problem else _thumbnail(row.path),
        }
        for row in rows
    ]
    return (
        environment(_TEMPLATES)
        .get_template("classify.html")
        .render(
            title="Classified images",
            rows=shown,
            unreadable=sum(1 for row in rows if row.problem),
            top=_width(rows, top),
            oversample=oversample,
        )
    )


def _thumbnail(path: Path) -> Optional[str]:
    """The image in its own proportions as a small JPEG in a ``data`` URL."""
    image = read_image(path)
    if image is None:
        return None
    height, width = image.shape[:2]
    factor = min(1.0, _THUMBNAIL / max(height, width))
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    _, encoded = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 85])
    return data_url("image/jpeg", encoded.tobytes())


def main(arguments: Sequence[str]) -> Optional[int]:
    """``python -m caffetools.bundle.classify --bundle DIR IMAGE_OR_FOLDER... --table FILE``."""
    parser = argparse.ArgumentParser(
        prog="python -m caffetools.bundle.classify", description=__doc__
    )
    parser.add_argument("images", type=Path, nargs="+", metavar="IMAGE_OR_FOLDER")
    parser.add_argument("--bundle", type=Path, required=True, help="the bundle's folder")
    parser.add_argument("--table", type=Path, help="CSV to write")
    parser.add_argument("--html", type=Path, help="HTML page to write")
    parser.add_argument("--top", type=int, default=5, help="classes an image (default: 5)")
    parser.add_argument(
        "--oversample", action="store_true", help="the mean over ten crops of each image"
    )
    options = parser.parse_args(arguments)
    if options.top < 1:
        raise ToolError(f"--top: expected at least 1, found {options.top}")
    if options.table is None and options.html is None:
        raise ToolError("expected --table or --html, found neither; there is nothing to write to")
    paths = find_images(options.images)
    rows = classify(options.bundle, paths, options.top, options.oversample)
    if options.table:
        write_table(options.table, rows, options.top)
    if options.html:
        write_text(options.html, page(rows, options.top, options.oversample))
    unreadable = [row for row in rows if row.problem]
    for row in unreadable:
        LOG.warning("%s: %s", row.name, row.problem)
    LOG.info("%d images classified, %d unreadable", len(rows) - len(unreadable), len(unreadable))
    return None


if __name__ == "__main__":
    run(main)
