"""How all figures look, and how they become files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from matplotlib import style
from matplotlib.figure import Figure

from caffetools.files import whole_file

# Told apart by colour-blind readers (blue, vermilion, green, purple, orange, sky blue).
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"]
LINES = ["-", "--", "-.", ":"]
RIGHT, WRONG = COLOURS[0], COLOURS[1]

_SETTINGS = {
    "font.size": 12,
    "axes.titlesize": 12,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e3e6ea",
    "legend.frameon": False,
    "text.color": "#1d2733",
    "axes.labelcolor": "#1d2733",
    "svg.hashsalt": "recaffe",
}
_DOTS_PER_INCH = 150
# What matplotlib would write by itself, and is not to.
_METADATA = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}}


@contextmanager
def figure_file(path: Path, width: float, height: float) -> Iterator[Figure]:
    """A figure of ``width`` by ``height`` inches, written to ``path`` on leaving.

    It becomes SVG where the path ends so, else PNG. A user's matplotlibrc is set aside and
    the program's name and the time left out of the file, so that the same figure gives the
    same bytes.
    """
    kind = "svg" if path.suffix.lower() == ".svg" else "png"
    with style.context(["default", _SETTINGS]):
        # The matplotlib of BVLC's interpreter does not know layout="constrained" yet.
        figure = Figure(figsize=(width, height), constrained_layout=True)
        yield figure
        with whole_file(path) as partial:
            figure.savefig(partial, format=kind, dpi=_DOTS_PER_INCH, metadata=_METADATA[kind])


def line_style(index: int) -> dict:
    """Colour and dashes of the ``index``-th line; both repeat, but not together."""
    return {"color": COLOURS[index % len(COLOURS)], "linestyle": LINES[index % len(LINES)]}
