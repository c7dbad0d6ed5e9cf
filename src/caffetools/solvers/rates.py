"""The learning-rate range test: train for a while at rates that grow, and look at the loss.

Source: L. N. Smith, "Cyclical Learning Rates for Training Neural Networks", 2017, section 3.3.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional, Union

import numpy as np

import caffe
from caffetools import nets, prototxt
from caffetools.cli import ToolError
from caffetools.schedule import learning_rate

# A loss this many times the lowest ends the test: it will not come back.
_HOPELESS = 4.0


@dataclass(frozen=True)
class RateRange:
    """The rates that were tried, in rising order, and the loss after a step at each."""

    rates: Sequence[float]
    losses: Sequence[float]

    @property
    def smoothed(self) -> np.ndarray:
        """Means of the losses over five steps at most, two to each side."""
        losses = np.asarray(self.losses)
        places = range(len(losses))
        return np.array([losses[max(place - 2, 0) : place + 3].mean() for place in places])

    @property
    def suggestion(self) -> float:
        """The rate at which the smoothed loss falls fastest, before its lowest.

        Where it only rises, it is the first rate.
        """
        smoothed = self.smoothed
        falls = np.diff(smoothed[: int(np.argmin(smoothed)) + 1])
        return float(self.rates[int(np.argmin(falls)) if len(falls) else 0])

    def plot(self, ax: Any) -> Any:
        """Draw the smoothed loss by rate on ``ax``."""
        from caffetools.plots.training import plot_rates

        return plot_rates(self.rates, list(self.smoothed), self.suggestion, ax)


def rate_range(
    solver_file: Union[str, Path],
    weights: Union[str, Path, Any, None] = None,
    lowest: float = 1e-5,
    highest: float = 1.0,
    steps: int = 100,
) -> RateRange:
    """Train at rates from ``lowest`` to ``highest``, growing by the same factor each step.

    A solver of its own is trained, so that no net or solver changes that is there already.
    But making it draws random numbers of Caffe's (or sets the solver's ``random_seed``): do
    it before you make the solver to train with. It ends early where the loss becomes hopeless.

    Args:
        solver_file: the solver's prototxt; its lr_policy, tests and snapshots are left out.
        weights: a net, or a .caffemodel, to start from; None to start from the fillers.

    Raises :class:`ToolError` where the rates do not rise over at least 3 steps, and where the
    very first loss is not finite.
    """
    if not 0 < lowest < highest or steps < 3:
        raise ToolError(
            "rate_range: expected 0 < lowest < highest and at least 3 steps, found lowest="
            f"{lowest}, highest={highest}, steps={steps}"
        )
    param = prototxt.read_solver(Path(solver_file))
    _let_rate_grow(param, lowest, (highest / lowest) ** (1 / (steps - 1)), steps)
    with tempfile.TemporaryDirectory() as folder:
        solver = _make(param, Path(folder), weights)
    losses: list[float] = []
    for _ in range(steps):
        solver.step(1)
        loss = nets.loss(solver.net)
        if not np.isfinite(loss) or (losses and loss > _HOPELESS * max(min(losses), 1e-6)):
            break
        losses.append(loss)
    if not losses:
        raise ToolError(
            f"{solver_file}: expected a finite loss before the first update, found {loss}; look "
            "for NaN in the data and in the weights"
        )
    return RateRange([learning_rate(param, step) for step in range(len(losses))], losses)


def _let_rate_grow(param: Any, lowest: float, factor: float, steps: int) -> None:
    for field in ("test_net", "test_net_param", "test_state", "test_iter", "test_interval"):
        param.ClearField(field)
    param.base_lr, param.lr_policy, param.gamma = lowest, "exp", factor
    param.max_iter, param.snapshot, param.display = steps, 0, 0
    param.snapshot_after_train = False


def _make(param: Any, folder: Path, weights: Optional[Any]) -> Any:
    param.snapshot_prefix = str(folder / "none")
    prototxt.write(folder / "solver.prototxt", param)
    solver = caffe.get_solver(str(folder / "solver.prototxt"))
    if isinstance(weights, (str, Path)):
        solver.net.copy_from(str(weights))
    elif weights is not None:
        nets.copy_weights(weights, solver.net)
    return solver
