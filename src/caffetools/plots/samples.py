"""A sample of test images with what they are and what the net took them for."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import numpy as np
from matplotlib.axes import Axes

from caffetools.classes import read_names
from caffetools.cli import ToolError, run
from caffetools.datums import datum_image, read_datums
from caffetools.plots.style import RIGHT, WRONG, add_output, figure_file, plain
from caffetools.predictions import Prediction, read_predictions
from caffetools.spread import spread

_COLUMNS = 6
_LONGEST_NAME = 14  # letters that there is room for


def choose(predictions: Sequence[Prediction], count: int) -> list[Prediction]:
    """``count`` predictions, half of them wrong if there are so many, wrong ones first."""
    wrong = [one for one in predictions if not one.is_right]
    right = [one for one in predictions if one.is_right]
    shown = spread(wrong, max(count // 2, count - len(right)))
    return shown + spread(right, count - len(shown))


def worst(predictions: Sequence[Prediction], count: int) -> list[Prediction]:
    """The ``count`` mistakes that the net was surest of, the surest first."""
    wrong = [one for one in predictions if not one.is_right]
    return sorted(wrong, key=lambda one: (-one.probability, one.index))[:count]


@dataclass(frozen=True)
class SamplesDisplay:
    """Images, captions and whether each is right."""

    images: list[np.ndarray]
    captions: list[str]
    right: list[bool]

    @classmethod
    def from_lmdb(
        cls,
        path: Path,
        predictions: Sequence[Prediction],
        classes: Optional[Sequence[str]],
        named: bool = False,
    ) -> SamplesDisplay:
        """Fetch the images of ``predictions`` from the LMDB they were made from.

        With ``named`` the captions end with the images' file names. Raises :class:`ToolError`
        where an image's label is not the one predicted for.
        """
        datums = read_datums(path, [one.index for one in predictions])
        for datum, one in zip(datums, predictions):
            if datum.label != one.label:
                raise ToolError(
                    f"{path}: entry {one.index} has label {datum.label}, the predictions say "
                    f"{one.label}; give the LMDB that was evaluated"
                )
        return cls(
            [datum_image(datum) for datum in datums],
            [_caption(one, classes, named) for one in predictions],
            [one.is_right for one in predictions],
        )

    def plot(self, axes: Sequence[Axes]) -> Sequence[Axes]:
        """Draw each image on one of ``axes``: wrong ones crossed and in a second colour."""
        for ax in axes:
            ax.axis("off")
        for ax, image, caption, right in zip(axes, self.images, self.captions, self.right):
            ax.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            colour, weight = (RIGHT, "normal") if right else (WRONG, "bold")
            mark = "" if right else "✗ "
            ax.set_title(mark + plain(caption), color=colour, fontweight=weight, fontsize=10)
        return axes


def _caption(one: Prediction, classes: Optional[Sequence[str]], named: bool) -> str:
    if classes is not None and max(one.label, one.predicted) >= len(classes):
        raise ToolError(
            f"--classes: expected a name for class {max(one.label, one.predicted)} of entry "
            f"{one.index}, found {len(classes)} names; give the list of the data set"
        )
    true, predicted = (
        str(label) if classes is None else classes[label] for label in (one.label, one.predicted)
    )
    meaning = true if true == predicted else f"{true} → {predicted}"
    file = f"\n…{_file_name(one)}" if named else ""
    return f"{meaning}\n{one.probability:.0%}{file}"


def _file_name(one: Prediction) -> str:
    """The end of the key, which convert_imageset makes of a number and the image's path."""
    return one.key[-_LONGEST_NAME:].rpartition("/")[2]


def main(arguments: Sequence[str]) -> None:
    """``python -m caffetools.plots.samples``"""
    parser = argparse.ArgumentParser(prog="python -m caffetools.plots.samples", description=__doc__)
    parser.add_argument("--lmdb", type=Path, required=True, help="the LMDB that was evaluated")
    parser.add_argument("--predictions", type=Path, required=True, help="its predictions.csv")
    parser.add_argument("--classes", type=Path, help="classes.txt (default: show labels)")
    parser.add_argument(
        "--worst", action="store_true", help="the surest mistakes, not some of all images"
    )
    parser.add_argument("--count", type=int, default=24, help="how many images (default: 24)")
    add_output(parser)
    options = parser.parse_args(arguments)
    classes = read_names(options.classes) if options.classes else None
    predictions = read_predictions(options.predictions)
    chosen = (worst if options.worst else choose)(predictions, options.count)
    display = SamplesDisplay.from_lmdb(options.lmdb, chosen, classes, named=options.worst)
    rows = max(1, -(-len(chosen) // _COLUMNS))
    with figure_file(options.output, 7.2, (1.95 if options.worst else 1.75) * rows) as figure:
        axes = figure.subplots(rows, _COLUMNS, squeeze=False)
        display.plot(list(axes.flat))
        if not chosen:
            figure.suptitle("no mistakes on the test split", y=0.5)


if __name__ == "__main__":
    run(main)
