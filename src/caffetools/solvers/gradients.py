"""Callbacks that tell, and draw, how large each layer's gradient and update are."""

from __future__ import annotations

from typing import Any

from tqdm import tqdm

from caffetools import nets
from caffetools.solvers.figures import Picture
from caffetools.solvers.monitoring import after_a_step


class ReportGradientCallback:
    """Records each layer's gradient whenever it is called; prints at ``report_interval``.

    What is recorded is :func:`nets.gradient_magnitudes` of the last step, taken before its
    update, which puts itself into the gradients' place. With ``iter_size`` it is that of the
    gradients' sum.

    The update is recorded as well, as :func:`nets.update_magnitudes` has it after the step.

    Attributes:
        iterations, gradients, updates: what was recorded; the last two are a list for every layer.
    """

    def __init__(self, report_interval: int = 100) -> None:
        self.report_interval = report_interval
        self.iterations: list[int] = []
        self.gradients: dict[str, list[float]] = {}
        self.updates: dict[str, list[float]] = {}
        self._last: dict[str, float] = {}
        self._attached_to: Any = None

    def attach(self, solver: Any) -> None:
        """Watch the solver's training from now on."""
        if self._attached_to is solver:
            return
        self._attached_to = solver
        net = solver.net
        solver.add_callback(lambda: None, lambda: self._note_gradients(net))

    def _note_gradients(self, net: Any) -> None:
        self._last = nets.gradient_magnitudes(net)

    @after_a_step
    def report_gradient(self, iteration: int, solver: Any) -> None:
        """Record the magnitudes and print them where due; the first step needs :meth:`attach`."""
        self._record(iteration, solver)
        if self._is_due(iteration) and self._last:
            told = " | ".join(f"{name} {value:.4g}" for name, value in self._last.items())
            tqdm.write(f"Gradients [{iteration}]: {told}")

    def _is_due(self, iteration: int) -> bool:
        return iteration % self.report_interval == 0

    def _record(self, iteration: int, solver: Any) -> None:
        self.attach(solver)
        if self._last and iteration not in self.iterations[-1:]:
            self.iterations.append(iteration)
            updates = nets.update_magnitudes(solver.net)
            for name, value in self._last.items():
                self.gradients.setdefault(name, []).append(value)
                self.updates.setdefault(name, []).append(updates[name])


class PlotGradientCallback(ReportGradientCallback):
    """Draws the recorded magnitudes as well, at every ``report_interval`` and at the end.

    Args:
        save, show: see :class:`caffetools.solvers.figures.Picture`.
    """

    def __init__(self, report_interval: int = 100, save: str = "", show: bool = False) -> None:
        super().__init__(report_interval)
        self._picture = Picture(save, show)

    @after_a_step
    def report_gradient(self, iteration: int, solver: Any) -> None:
        """Record and print as :class:`ReportGradientCallback` does, and draw where due."""
        super().report_gradient(iteration, solver)
        self.plot_gradient(iteration, solver)

    @after_a_step
    def plot_gradient(self, iteration: int, solver: Any) -> None:
        """Record the magnitudes, and draw where due; print nothing."""
        self._record(iteration, solver)
        if self._is_due(iteration):
            self.finish()

    def plot(self, ax: Any) -> Any:
        """Draw the recorded magnitudes on ``ax``."""
        from caffetools.plots.training import plot_magnitudes

        return plot_magnitudes(self.iterations, self.gradients, ax)

    def plot_updates(self, ax: Any) -> Any:
        """Draw the recorded updates' magnitudes on ``ax``."""
        from caffetools.plots.training import plot_magnitudes

        return plot_magnitudes(self.iterations, self.updates, ax, "update magnitude")

    def finish(self) -> None:
        """Draw what was recorded."""
        if self._picture.is_wanted and self.iterations:
            self._picture.draw(self.plot)
