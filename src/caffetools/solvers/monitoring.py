"""A solver that calls functions of yours at intervals while it trains."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Optional, TypeVar

from caffetools.cli import ToolError

_KEYS = {"callback", "object", "interval"}

Function = TypeVar("Function", bound=Callable[..., Any])


class StopSolving(Exception):  # noqa: N818
    """What a callback raises to end :meth:`MonitoringSolver.solve`; its text is the reason."""


def after_a_step(callback: Function) -> Function:
    """Mark a callback that reads what a step left behind: it is not called before the first."""
    callback.after_a_step = True  # type: ignore[attr-defined]
    return callback


class MonitoringSolver:
    """Trains by ``solver.step`` and calls the registered callbacks in between.

    The numbers are those of ``solver.step`` alone, since no callback of this package runs the
    net that is trained, nor draws random numbers of Caffe's.

    Args:
        solver: any of pycaffe's solvers.
        start: the number to count iterations from; by default the solver's own.

    Attributes:
        iteration: the count, which callbacks are given.
        stopped: why the last :meth:`solve` ended early; None if it did not.
    """

    def __init__(self, solver: Any, start: Optional[int] = None) -> None:
        self.solver = solver
        self.iteration = int(solver.iter) if start is None else start
        self.stopped: Optional[str] = None
        self._callbacks: list[Mapping[str, Any]] = []
        self._has_stepped = False
        self._called_at: Optional[int] = None

    def register_callback(self, callbacks: Sequence[Mapping[str, Any]]) -> None:
        """Add callbacks to those registered before; one that is there already stays one.

        Each is a dict: ``callback``, called as ``callback(object, iteration, solver)``, so that
        it can be a method named by its class; ``object``, which may have ``attach(solver)``,
        called when solving starts, and ``finish()``, called when it ends; ``interval``, the
        iterations whose multiples it is called at.

        Raises :class:`ToolError` where one is not like that.
        """
        if isinstance(callbacks, Mapping):
            raise ToolError("register_callback: expected a list of callbacks, found one; put it in")
        for index, entry in enumerate(callbacks):
            _check(index, entry)
            if not any(entry is known for known in self._callbacks):
                self._callbacks.append(entry)

    def solve(self, iterations: int, step: int = 1, wait: bool = False) -> Optional[str]:
        """Make ``iterations`` times ``step`` updates, or fewer if a callback stops it.

        The callbacks are called before the first step, after each one, and so at the end.
        Returns the reason why it was stopped, or None.

        Args:
            step: how many updates to make between two looks at the callbacks.
            wait: wait for Enter at the end, while windows are open.
        """
        self.stopped = None
        objects = {id(entry["object"]): entry["object"] for entry in self._callbacks}
        _call_where_defined(objects.values(), "attach", self.solver)
        try:
            self._call_callbacks()
            for _ in range(iterations):
                if self.stopped is not None:
                    break
                self.solver.step(step)
                self.iteration += step
                self._has_stepped = True
                self._call_callbacks()
        finally:
            _call_where_defined(objects.values(), "finish")
        if wait:
            input("Enter to continue ... ")
        return self.stopped

    def _call_callbacks(self) -> None:
        # A second solve() begins where the first one ended, and was looked at.
        if self._called_at == self.iteration:
            return
        self._called_at = self.iteration
        for entry in self._callbacks:
            callback = entry["callback"]
            if self.iteration % entry["interval"]:
                continue
            if not self._has_stepped and getattr(callback, "after_a_step", False):
                continue
            try:
                callback(entry["object"], self.iteration, self.solver)
            except StopSolving as stop:
                # The others are to see this iteration too: a snapshot may be among them.
                self.stopped = self.stopped or str(stop)


def _check(index: int, entry: Any) -> None:
    if not isinstance(entry, Mapping) or set(entry) != _KEYS:
        found = ", ".join(map(str, entry)) if isinstance(entry, Mapping) else repr(entry)
        raise ToolError(
            f"callback {index}: expected a dict with callback, object and interval, found {found}"
        )
    if not callable(entry["callback"]):
        raise ToolError(
            f"callback {index}: expected a function as callback, found {entry['callback']!r}; "
            "name it without calling it, as in PlotLossCallback.report_loss"
        )
    interval = entry["interval"]
    if not isinstance(interval, int) or isinstance(interval, bool) or interval < 1:
        raise ToolError(
            f"callback {index}: expected an interval of at least 1 iteration, found {interval!r}"
        )


def _call_where_defined(objects: Any, name: str, *arguments: Any) -> None:
    for each in objects:
        if hasattr(each, name):
            getattr(each, name)(*arguments)
