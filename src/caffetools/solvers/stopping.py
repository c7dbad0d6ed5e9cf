"""Stopping when the validation score gets no better."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Optional

from caffetools.cli import ToolError
from caffetools.solvers.monitoring import StopSolving

# A score of the net as it is now, lower being better: measure(iteration, solver).
Measure = Callable[[int, Any], float]


class Lowest:
    """The lowest of the values seen so far.

    Args:
        least_change: by how much a value must be lower than the lowest to count.

    Attributes:
        value, iteration: the lowest and where it was seen; None before the first.
        waited: how many values were seen since.
    """

    def __init__(self, least_change: float = 0.0) -> None:
        self.least_change = least_change
        self.value: Optional[float] = None
        self.iteration: Optional[int] = None
        self.waited = 0

    def is_lowered_by(self, iteration: int, value: float) -> bool:
        """Whether ``value``, which is taken note of, is a new lowest; NaN never is."""
        if value == value and (self.value is None or value < self.value - self.least_change):
            self.value, self.iteration, self.waited = value, iteration, 0
            return True
        self.waited += 1
        return False


def stop_if_waited(lowest: Lowest, patience: int, what: str) -> None:
    """Raise :class:`StopSolving` where ``patience`` values in a row were no new lowest."""
    if lowest.waited >= patience:
        best = "none was a number"
        if lowest.value is not None:
            best = f"the lowest, {lowest.value:.6g}, was at iteration {lowest.iteration}"
        raise StopSolving(f"{what} has not fallen {lowest.waited} times in a row; {best}")


class EarlyStoppingCallback:
    """Stops a training whose score has not become better for a while.

    Args:
        measure: ``measure(iteration, solver)`` is the score, lower being better, such as the
            ``test_error`` of a :class:`ReportErrorCallback`.
        patience: how many calls in a row may bring no new lowest.
        least_change: by how much a score must be lower to count.
    """

    def __init__(self, measure: Measure, patience: int, least_change: float = 0.0) -> None:
        check_patience(patience)
        self.measure = measure
        self.patience = patience
        self.lowest = Lowest(least_change)

    def stop_early(self, iteration: int, solver: Any) -> None:
        """Measure, and end the training where patience is at its end."""
        self.lowest.is_lowered_by(iteration, self.measure(iteration, solver))
        stop_if_waited(self.lowest, self.patience, "the score")


def check_patience(patience: int) -> None:
    """Raise :class:`ToolError` unless ``patience`` is a number of calls."""
    if patience < 1:
        raise ToolError(f"expected a patience of at least 1 call, found {patience}")
