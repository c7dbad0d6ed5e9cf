"""Callbacks that tell, and draw, the training loss."""

from __future__ import annotations

from typing import Any

from tqdm import tqdm

from caffetools import nets
from caffetools.solvers.figures import Picture
from caffetools.solvers.monitoring import after_a_step


class ReportLossCallback:
    """Records the loss whenever it is called, and prints it at every ``report_interval``.

    Attributes:
        iterations, losses: what was recorded, in order.
    """

    def __init__(self, report_interval: int = 100) -> None:
        self.report_interval = report_interval
        self.iterations: list[int] = []
        self.losses: list[float] = []

    @after_a_step
    def report_loss(self, iteration: int, solver: Any) -> None:
        """Record the loss of the step that led to ``iteration``; print it where due."""
        self._record(iteration, solver)
        if self._is_due(iteration):
            tqdm.write(f"Training loss [{iteration}]: {self.losses[-1]:.6g}")

    def _is_due(self, iteration: int) -> bool:
        return iteration % self.report_interval == 0

    def _record(self, iteration: int, solver: Any) -> None:
        if iteration not in self.iterations[-1:]:
            self.iterations.append(iteration)
            self.losses.append(nets.loss(solver.net))


class PlotLossCallback(ReportLossCallback):
    """Draws the recorded loss as well, at every ``report_interval`` and at the end.

    Args:
        save, show: see :class:`caffetools.solvers.figures.Picture`.
    """

    def __init__(self, report_interval: int = 100, save: str = "", show: bool = False) -> None:
        super().__init__(report_interval)
        self._picture = Picture(save, show)

    @after_a_step
    def report_loss(self, iteration: int, solver: Any) -> None:
        """Record and print as :class:`ReportLossCallback` does, and draw where due."""
        super().report_loss(iteration, solver)
        self.plot_loss(iteration, solver)

    @after_a_step
    def plot_loss(self, iteration: int, solver: Any) -> None:
        """Record the loss, and draw where due; print nothing."""
        self._record(iteration, solver)
        if self._is_due(iteration):
            self.finish()

    def plot(self, ax: Any) -> Any:
        """Draw the recorded losses on ``ax``."""
        from caffetools.plots.training import plot_loss

        return plot_loss(self.iterations, self.losses, ax)

    def finish(self) -> None:
        """Draw what was recorded."""
        if self._picture.is_wanted and self.losses:
            self._picture.draw(self.plot)
