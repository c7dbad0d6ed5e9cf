"""Event files for TensorBoard, through whichever package is there to write them."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Optional, Union

from caffetools import nets
from caffetools.cli import ToolError
from caffetools.solvers.monitoring import after_a_step

# The modules that can write them, in the order they are tried, each with its class.
_WRITERS = (("tensorboardX", "SummaryWriter"), ("tensorboard.summary", "Writer"))


class TensorBoardCallback:
    """Writes scalars as event files.

    Args:
        folder: where TensorBoard is to look, ``tensorboard --logdir folder``.
        scalars: functions of ``(iteration, solver)`` by the names to show them under, such as
            the ``test_error`` of a :class:`ReportErrorCallback`; by default the training loss.

    Raises :class:`ToolError` unless tensorboardX or tensorboard is installed.
    """

    def __init__(
        self,
        folder: Union[str, Path],
        scalars: Optional[Mapping[str, Callable[[int, Any], float]]] = None,
    ) -> None:
        self._make_writer = _find_writer()
        self._folder = str(folder)
        self._scalars = scalars or {"loss": lambda iteration, solver: nets.loss(solver.net)}
        self._writer: Any = None

    @after_a_step
    def write_scalars(self, iteration: int, solver: Any) -> None:
        """Write the scalars as they are at ``iteration``."""
        if self._writer is None:
            self._writer = self._make_writer(self._folder)
        for name, scalar in self._scalars.items():
            self._writer.add_scalar(name, float(scalar(iteration, solver)), iteration)

    def finish(self) -> None:
        """Close the file; what is written after it goes into another one."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def _find_writer() -> Callable[[str], Any]:
    for module, name in _WRITERS:
        try:
            writer: Callable[[str], Any] = getattr(importlib.import_module(module), name)
        except ImportError:
            continue
        return writer
    raise ToolError(
        "expected the package tensorboardX or tensorboard, found neither; install one of them, "
        "`pip install tensorboardX`, or do without a TensorBoardCallback"
    )
