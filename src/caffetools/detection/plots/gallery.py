"""The images that were detected in best and worst, with the boxes on them.

Right detections are green, false ones red, ignored ones gray, and missed objects dashed yellow.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from matplotlib.axes import Axes

from caffetools.cli import ToolError, run
from caffetools.detection.drawing import IGNORED, MISSED, RIGHT, WRONG, Style, draw
from caffetools.detection.manifest import Corners
from caffetools.images import read_checked
from caffetools.plots.style import RIGHT as BEST
from caffetools.plots.style import WRONG as WORST
from caffetools.plots.style import add_output, figure_file, plain

_COLUMNS = 4
_SIDE = 420  # pixels of an image's longer side, so that letters can be read
_LONGEST_NAME = 24  # letters that there is room for
_STYLES = {"right": RIGHT, "wrong": WRONG, "ignored": IGNORED}

Item = TypeVar("Item")
Drawn = tuple[Corners, str, Style]


@dataclass(frozen=True)
class GalleryDisplay:
    """Images with boxes drawn on them, in RGB, with captions: the best, then the worst."""

    images: list[np.ndarray]
    captions: list[str]
    best: int

    @classmethod
    def read(
        cls, folder: Path, scores: Path, judged: Path, missed: Path, count: int
    ) -> GalleryDisplay:
        """Half of ``count`` images from either end of ``scores``; from ``folder``.

        Raises :class:`ToolError` for an image that cannot be read, or a table that is another.
        """
        rows = _table(scores, lambda row: (row["path"], float(row["f1"])))
        best, worst = ends(rows, count)
        shown = best + worst
        boxes: dict[str, list[Drawn]] = {path: [] for path, _ in shown}
        # Later ones lie above: what is missed under all, and what is right under what is false.
        ranks = {MISSED: 0, IGNORED: 1, RIGHT: 2, WRONG: 3}
        for path, box in (*_table(missed, _missed), *_table(judged, _judged)):
            if path in boxes:
                boxes[path].append(box)
        images = []
        for path, _ in shown:
            image = _image(folder, path)
            ordered = sorted(boxes[path], key=lambda box: ranks[box[2]])
            images.append(draw(image, ordered, _SIDE)[:, :, ::-1])
        return cls(
            images, [f"{path[-_LONGEST_NAME:]}\nF1 {f1:.2f}" for path, f1 in shown], len(best)
        )

    def plot(self, axes: Sequence[Axes]) -> Sequence[Axes]:
        """Draw the best on the first of ``axes``, and the worst from a new row on."""
        for ax in axes:
            ax.axis("off")
        behind = -(-self.best // _COLUMNS) * _COLUMNS
        places = [*range(self.best), *range(behind, behind + len(self.images) - self.best)]
        for number, (place, image) in enumerate(zip(places, self.images)):
            axes[place].imshow(image, interpolation="antialiased")
            colour = BEST if number < self.best else WORST
            axes[place].set_title(plain(self.captions[number]), color=colour, fontsize=8)
        return axes

    @property
    def rows(self) -> int:
        """How many rows of axes are needed, at least one."""
        worst = len(self.images) - self.best
        return max(1, -(-self.best // _COLUMNS) - (-worst // _COLUMNS))


def _image(folder: Path, path: str) -> np.ndarray:
    if Path(path).is_absolute() or ".." in Path(path).parts:
        raise ToolError(f"{path}: expected the name of an image inside {folder}, found one outside")
    image, reason = read_checked(folder / path)
    if image is None:
        raise ToolError(f"{folder / path}: {reason}; give the folder of the images")
    return image


def ends(items: Sequence[Item], count: int) -> tuple[list[Item], list[Item]]:
    """The first and the last of ``items``, ``count`` in all, the last one first; none twice."""
    shown = min(count, len(items))
    first = shown - shown // 2
    return list(items[:first]), list(items[first:][::-1][: shown - first])


def _judged(row: dict[str, str]) -> tuple[str, Drawn]:
    text = f"{row['class']} {float(row['score']):.2f}"
    return row["path"], (_corners(row), text, _STYLES[row["verdict"]])


def _missed(row: dict[str, str]) -> tuple[str, Drawn]:
    return row["path"], (_corners(row), row["class"], MISSED)


def _corners(row: dict[str, str]) -> Corners:
    x1, y1, x2, y2 = (float(row[name]) for name in ("x1", "y1", "x2", "y2"))
    return x1, y1, x2, y2


def _table(path: Path, read: Callable[[dict[str, str]], Item]) -> list[Item]:
    def rows() -> Iterator[Item]:
        with path.open(newline="", encoding="utf-8") as stream:
            for row in csv.DictReader(stream):
                yield read(row)

    try:
        return list(rows())
    except (KeyError, TypeError, ValueError) as error:
        raise ToolError(
            f"{path}: expected the table as caffetools.detection.evaluate writes it ({error!r}); "
            "evaluate again to write it afresh"
        ) from error


def main(arguments: Sequence[str]) -> None:
    """``python -m caffetools.detection.plots.gallery``"""
    parser = argparse.ArgumentParser(
        prog="python -m caffetools.detection.plots.gallery", description=__doc__
    )
    parser.add_argument("--images", type=Path, required=True, help="the folder of the images")
    parser.add_argument("--scores", type=Path, required=True, help="scores.csv of an evaluation")
    parser.add_argument("--judged", type=Path, required=True, help="its judged.csv")
    parser.add_argument("--missed", type=Path, required=True, help="its missed.csv")
    parser.add_argument("--count", type=int, default=16, help="how many images (default: 16)")
    add_output(parser)
    options = parser.parse_args(arguments)
    if options.count < 1:
        raise ToolError(f"--count: expected at least 1, found {options.count}")
    display = GalleryDisplay.read(
        options.images, options.scores, options.judged, options.missed, options.count
    )
    with figure_file(options.output, 10.0, 2.7 * display.rows) as figure:
        axes = figure.subplots(display.rows, _COLUMNS, squeeze=False)
        display.plot(list(axes.flat))


if __name__ == "__main__":
    run(main)
