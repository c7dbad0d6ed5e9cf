"""Where the pictures of a training go: into a file, into a window, or nowhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from caffetools.pictures import picture_format

# matplotlib is imported where a picture is drawn: without pictures one can do without it.
_SIZE = (6.4, 4.4)


class Picture:
    """A picture that is drawn over and over.

    Args:
        save: the file to write it to, as PNG or SVG by its name; "" to write none.
        show: whether to show it in a window.

    Raises :class:`ToolError` for a file of another kind.
    """

    def __init__(self, save: str = "", show: bool = False) -> None:
        if save:
            picture_format(Path(save))
        self._save = Path(save) if save else None
        self._show = show
        self._window: Any = None

    @property
    def is_wanted(self) -> bool:
        """Whether it goes anywhere."""
        return self._save is not None or self._show

    def draw(self, plot: Callable[[Any], Any]) -> None:
        """Let ``plot`` draw on axes, then save and show the picture as told."""
        if self._save is not None:
            from caffetools.plots.style import figure_file

            with figure_file([self._save], *_SIZE) as figure:
                plot(figure.subplots())
        if self._show:
            self._draw_window(plot)

    def _draw_window(self, plot: Callable[[Any], Any]) -> None:
        from matplotlib import pyplot

        if self._window is None:
            pyplot.ion()
            self._window = pyplot.figure(figsize=_SIZE)
        self._window.clear()
        plot(self._window.subplots())
        pyplot.pause(0.001)
