"""Callbacks that tell, and draw, the share of entries that the net gets wrong."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Optional

import numpy as np
from tqdm import tqdm

from caffetools import nets
from caffetools.cli import ToolError
from caffetools.solvers.figures import Picture
from caffetools.solvers.snapshots import Prefix, create_named_snapshot
from caffetools.solvers.stopping import Lowest, check_patience, stop_if_waited

CountErrors = Callable[[np.ndarray, np.ndarray], float]


class ReportErrorCallback:
    """Records and prints the errors on the training and the test data, from 0 to 1.

    The test error is that of the solver's first test net with the weights as they are now,
    over ``testing_size`` entries. The training error is that of the last ``training_size``
    entries which the training itself has seen, each with the weights of its time: to run the
    trained net for it would take batches, and random numbers, away from the training. With
    ``iter_size`` the last batch of each iteration counts.

    Args:
        count_errors: ``count_errors(scores, labels)``, given (N, C, ...) and (N, ...) arrays
            without axes of length 1 at their end, is the number of errors among N entries.
        training_size, testing_size: how many entries the data have; 0 leaves that error out.
        snapshot_prefix: that of the solver's prototxt; with it :meth:`stop_early` keeps the
            snapshot with the lowest test error, as ``<prefix>_early_stopping``.
        patience: how many calls of :meth:`stop_early` in a row may bring no lower test error.
        scores, labels: the blobs to judge by; by default :func:`nets.scores_and_labels`'.

    Attributes:
        iterations, errors: what was recorded, each a list for ``"train"`` and ``"test"``.
    """

    def __init__(
        self,
        count_errors: CountErrors,
        training_size: int,
        testing_size: int,
        snapshot_prefix: Prefix = "",
        *,
        patience: int = 5,
        scores: Optional[str] = None,
        labels: Optional[str] = None,
    ) -> None:
        check_patience(patience)
        self.iterations: dict[str, list[int]] = {"train": [], "test": []}
        self.errors: dict[str, list[float]] = {"train": [], "test": []}
        self.lowest = Lowest()
        self._count_errors = count_errors
        self._training_size, self._testing_size = training_size, testing_size
        self._snapshot_prefix = snapshot_prefix
        self._patience = patience
        self._scores, self._labels = scores, labels
        self._seen: deque[tuple[float, int]] = deque()
        self._attached_to: Any = None

    def attach(self, solver: Any) -> None:
        """Watch the solver's training from now on."""
        if self._attached_to is solver:
            return
        self._attached_to = solver
        if self._training_size:
            net = solver.net
            solver.add_callback(lambda: None, lambda: self._note_batch(net))

    def report_error(self, iteration: int, solver: Any) -> None:
        """Record both errors and print them."""
        self._record(iteration, solver)
        for kind, name in (("train", "Training"), ("test", "Testing")):
            if iteration in self.iterations[kind][-1:]:
                tqdm.write(f"{name} error [{iteration}]: {self.errors[kind][-1]:.6g}")

    def stop_early(self, iteration: int, solver: Any) -> None:
        """Keep the best snapshot, and end the training when patience is at its end.

        It raises :class:`StopSolving`, which :meth:`MonitoringSolver.solve` stops at, and
        :class:`ToolError` where there is no test error to go by.
        """
        if not self._testing_size:
            raise ToolError(
                "stop_early: expected a testing_size, found 0; it goes by the test error"
            )
        self._record(iteration, solver)
        error = self.errors["test"][-1]
        if self.lowest.is_lowered_by(iteration, error) and str(self._snapshot_prefix):
            create_named_snapshot(solver, self._snapshot_prefix, "early_stopping")
            tqdm.write(f"Early stopping [{iteration}]: {error:.6g}")
        stop_if_waited(self.lowest, self._patience, "the test error")

    def test_error(self, iteration: int, solver: Any) -> float:
        """The test error, measured once for an iteration: a score for other callbacks."""
        if iteration not in self.iterations["test"][-1:]:
            self.iterations["test"].append(iteration)
            self.errors["test"].append(self._measure(solver))
        return self.errors["test"][-1]

    def _record(self, iteration: int, solver: Any) -> None:
        self.attach(solver)
        if self._seen and iteration not in self.iterations["train"][-1:]:
            self.iterations["train"].append(iteration)
            errors, entries = map(sum, zip(*self._seen))
            self.errors["train"].append(errors / entries)
        if self._testing_size:
            self.test_error(iteration, solver)

    def _note_batch(self, net: Any) -> None:
        self._seen.append(self._judge(net, None))
        entries = sum(count for _, count in self._seen)
        while entries - self._seen[0][1] >= self._training_size:
            entries -= self._seen.popleft()[1]

    def _measure(self, solver: Any) -> float:
        if not len(solver.test_nets):
            raise ToolError(
                "the solver has no test net, which the test error is measured on; give it one "
                "(test_iter and test_interval), or testing_size=0"
            )
        net = solver.test_nets[0]
        net.share_with(solver.net)
        errors, entries = 0.0, 0
        # Data layers go on where they stopped, round and round: as many entries in a row as
        # there are, are each of them once, wherever the first one lies.
        while entries < self._testing_size:
            net.forward()
            wrong, count = self._judge(net, self._testing_size - entries)
            errors, entries = errors + wrong, entries + count
        return errors / entries

    def _judge(self, net: Any, limit: Optional[int]) -> tuple[float, int]:
        """Errors and entries of the batch in the net, of which ``limit`` count."""
        scores, labels = (_without_tail(net.blobs[name].data)[:limit] for name in self._blobs(net))
        return self._count_errors(scores, labels), len(labels)

    def _blobs(self, net: Any) -> tuple[str, str]:
        if self._scores is None or self._labels is None:
            scores, labels = nets.scores_and_labels(net)
            return self._scores or scores, self._labels or labels
        for name in (self._scores, self._labels):
            if name not in net.blobs:
                raise ToolError(
                    f"the net has no blob {name!r} to judge by; it has {', '.join(net.blobs)}"
                )
        return self._scores, self._labels


def _without_tail(array: np.ndarray) -> np.ndarray:
    """A copy, (N, C, 1, 1) made (N, C)."""
    shape = list(array.shape)
    while len(shape) > 1 and shape[-1] == 1:
        shape.pop()
    return np.array(array).reshape(shape)


class PlotErrorCallback(ReportErrorCallback):
    """Draws the recorded errors as well, whenever it is called and at the end.

    Args:
        save, show: see :class:`caffetools.solvers.figures.Picture`.
        options: see :class:`ReportErrorCallback`.
    """

    def __init__(
        self,
        count_errors: CountErrors,
        training_size: int,
        testing_size: int,
        snapshot_prefix: Prefix = "",
        save: str = "",
        show: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(count_errors, training_size, testing_size, snapshot_prefix, **options)
        self._picture = Picture(save, show)

    def report_error(self, iteration: int, solver: Any) -> None:
        """Record and print as :class:`ReportErrorCallback` does, and draw."""
        super().report_error(iteration, solver)
        self.finish()

    def plot_error(self, iteration: int, solver: Any) -> None:
        """Record the errors and draw them; print nothing."""
        self._record(iteration, solver)
        self.finish()

    def plot(self, ax: Any) -> Any:
        """Draw the recorded errors on ``ax``."""
        from caffetools.plots.training import plot_errors

        recorded = {kind: errors for kind, errors in self.errors.items() if errors}
        return plot_errors(self.iterations, recorded, ax)

    def finish(self) -> None:
        """Draw what was recorded."""
        if self._picture.is_wanted and any(self.errors.values()):
            self._picture.draw(self.plot)
