"""How all figures look, and how they become files."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from matplotlib import style
from matplotlib.figure import Figure

from caffetools.cli import ToolError
from caffetools.files import whole_file
from caffetools.pictures import picture_format

# Told apart by colour-blind readers (blue, vermilion, green, purple, orange, sky blue).
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"]
LINES = ["-", "--", "-.", ":"]
MARKERS = ["o", "s", "^", "D", "v", "P", "X"]
HATCHES = ["", "///", "...", "xxx"]
# From dark to light without a turn, so that it reads the same when printed in grey.
HEAT = "cividis"
RIGHT, WRONG = COLOURS[0], COLOURS[1]

_SETTINGS = {
    "font.size": 12,
    "axes.titlesize": 12,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e3e6ea",
    "legend.frameon": False,
    "text.color": "#1d2733",
    "axes.labelcolor": "#1d2733",
    "svg.hashsalt": "recaffe",
}
_DOTS_PER_INCH = 150
# Of a PNG, which is drawn in memory with 4 bytes a pixel: 1 GiB. And what every matplotlib takes as
# a side: 3.11 draws up to 2^23 pixels, but 3.3, which BVLC's interpreter has, less than 2^16.
_MOST_PIXELS = 1 << 28
_LONGEST_SIDE = (1 << 16) - 1
# What matplotlib would write by itself, and is not to.
_METADATA = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}}


def add_output(parser: argparse.ArgumentParser) -> None:
    """Let a command take ``--output``, the files that its figure is written to.

    Reading the arguments raises :class:`ToolError` for a file of another ending.
    """
    parser.add_argument(
        "--output",
        type=_picture,
        nargs="+",
        required=True,
        help="PNG or SVG to write, by the name's ending; several to have both",
    )


def _picture(name: str) -> Path:
    path = Path(name)
    picture_format(path)
    return path


@contextmanager
def figure_file(paths: Sequence[Path], width: float, height: float) -> Iterator[Figure]:
    """A figure of ``width`` by ``height`` inches, written to all ``paths`` on leaving.

    It becomes PNG or SVG by each path's ending; :class:`ToolError` for another one, and for a PNG
    of more than 2^28 pixels, or 65,535 in width or height, before anything is drawn. A user's
    matplotlibrc is set aside and the program's name and the time left out of the files, so that
    the same figure gives the same bytes. (As SVG not by an old matplotlib, such as that of BVLC's
    interpreter, which names clip paths by their places in memory.)
    """
    kinds = [picture_format(path) for path in paths]
    for path, kind in zip(paths, kinds):
        if kind == "png":
            _check_size(path, width, height)
    with style.context(["default", _SETTINGS]):
        # The matplotlib of BVLC's interpreter does not know layout="constrained" yet.
        figure = Figure(figsize=(width, height), constrained_layout=True)
        yield figure
        for path, kind in zip(paths, kinds):
            with whole_file(path) as partial:
                figure.savefig(partial, format=kind, dpi=_DOTS_PER_INCH, metadata=_METADATA[kind])


def _check_size(path: Path, width: float, height: float) -> None:
    pixels = [int(side * _DOTS_PER_INCH) for side in (width, height)]
    if max(pixels) > _LONGEST_SIDE or pixels[0] * pixels[1] > _MOST_PIXELS:
        raise ToolError(
            f"{path}: the figure would have {pixels[0]} x {pixels[1]} pixels (width x height), "
            f"more than the {_LONGEST_SIDE} of a side or the {_MOST_PIXELS} in all that are "
            "drawn; let it show less, or write an .svg alone"
        )


def plain(text: str) -> str:
    """A text for matplotlib to write letter by letter: two dollars in it begin no formula."""
    return text.replace("$", r"\$")


def line_style(index: int) -> dict:
    """Colour and dashes of the ``index``-th line; both repeat, but not together."""
    return {"color": COLOURS[index % len(COLOURS)], "linestyle": LINES[index % len(LINES)]}


def point_style(index: int) -> dict:
    """Colour and marker of the ``index``-th kind of points; both repeat, together after 42."""
    return {"color": COLOURS[index % len(COLOURS)], "marker": MARKERS[index % len(MARKERS)]}
