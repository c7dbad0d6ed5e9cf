"""A progress bar with the time that is left, and images a second."""

from __future__ import annotations

from typing import Any, Optional

from tqdm import tqdm

from caffetools import nets


class ProgressCallback:
    """Shows how far the training is, on standard error where that is a terminal.

    Args:
        iterations: how many iterations the training is to have, from the first one on.
        batch_size: entries an update, for images a second; by default the train net's batch.
            Where the solver has an ``iter_size``, give the batch times that.
    """

    def __init__(self, iterations: int, batch_size: Optional[int] = None) -> None:
        self.iterations = iterations
        self.batch_size = batch_size
        self.bar: Any = None
        self._shown = 0

    def show_progress(self, iteration: int, solver: Any) -> None:
        """Bring the bar up to ``iteration``; the first call, the start, begins it."""
        if self.bar is None:
            # tqdm multiplies by unit_scale what it shows: it counts images, and so does its rate.
            size = self.batch_size or nets.batch_size(solver.net)
            self.bar = tqdm(total=self.iterations, unit=" images", unit_scale=size, disable=None)
            self._shown = iteration
        self.bar.set_description(f"iteration {iteration}", refresh=False)
        self.bar.update(iteration - self._shown)
        self._shown = iteration

    def finish(self) -> None:
        """Leave the bar as it stands."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None
