"""Compares experiments over their seeds: who learns faster, and where they meet.

All intervals are 95 % confidence intervals of a mean over seeds (Student's t). They are
taken at each iteration by itself, so of many iterations a few part by chance; that is why
a claim asks for two tested iterations in a row (:data:`CONFIRMING_TESTS`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import combinations, groupby
from typing import Optional

import numpy as np
from scipy.special import stdtrit

from caffetools.cli import ToolError
from caffetools.history import History
from caffetools.metrics import iterations_to_reach

CONFIDENCE = 0.95
CONFIRMING_TESTS = 2


def half_widths(values: np.ndarray) -> np.ndarray:
    """Half the width of the 95 % interval of the mean, along the first axis (seeds).

    ``t(0.975, n - 1) * s / sqrt(n)`` with the sample deviation ``s`` (divisor ``n - 1``).
    NaN for one seed, which says nothing about spread.
    """
    count = values.shape[0]
    if count < 2:
        return np.full(values.shape[1:], np.nan)
    quantile = stdtrit(count - 1, (1 + CONFIDENCE) / 2)
    return quantile * np.std(values, axis=0, ddof=1) / np.sqrt(count)


@dataclass(frozen=True)
class Estimate:
    """A mean over ``count`` seeds and half the width of its 95 % interval (NaN for one)."""

    mean: float
    half_width: float
    count: int


def estimate(values: Sequence[float]) -> Estimate:
    """The mean of ``values``, one a seed, with its interval (see :func:`half_widths`)."""
    array = np.asarray(values, dtype=np.float64)
    return Estimate(float(array.mean()), float(half_widths(array)), len(array))


@dataclass(frozen=True)
class Arm:
    """Test accuracy of one experiment by iteration: ``accuracy`` is (seeds, iterations)."""

    name: str
    iterations: np.ndarray
    accuracy: np.ndarray

    @property
    def mean(self) -> np.ndarray:
        """(iterations,) mean over the seeds."""
        return self.accuracy.mean(axis=0)

    @property
    def half_width(self) -> np.ndarray:
        """(iterations,) half the width of the mean's 95 % interval."""
        return half_widths(self.accuracy)

    @property
    def seeds(self) -> int:
        """The number of seeds."""
        return self.accuracy.shape[0]

    def at(self, iterations: np.ndarray) -> Arm:
        """The arm at those of its iterations that are among ``iterations``."""
        kept = np.isin(self.iterations, iterations)
        return Arm(self.name, self.iterations[kept], self.accuracy[:, kept])


def arm_of(name: str, histories: Sequence[History]) -> Arm:
    """The accuracy at the iterations that were tested in every seed's history.

    Raises :class:`ToolError` where there is no such iteration.
    """
    tests = [history.tested() for history in histories]
    shared = reduce(np.intersect1d, [test.iteration for test in tests])
    if not len(shared):
        raise ToolError(
            f"experiment {name!r}: its {len(tests)} histories share no tested iteration; set "
            "test_interval in its solver, alike for all seeds"
        )
    rows = [test.test_accuracy[np.isin(test.iteration, shared)] for test in tests]
    return Arm(name, shared, np.stack(rows))


@dataclass(frozen=True)
class Lead:
    """A run of ``tests`` successive tested iterations at which ``leader`` is ahead."""

    leader: str
    first: int
    last: int
    tests: int


@dataclass(frozen=True)
class Comparison:
    """Two arms at the iterations that both tested (``first`` and ``second`` share them).

    ``relation`` is +1 where the first arm's interval lies wholly above the second's, -1
    where wholly below, 0 where they overlap; all 0 where an arm has one seed only.
    """

    first: Arm
    second: Arm
    relation: np.ndarray

    @property
    def leads(self) -> list[Lead]:
        """The leads in order of iteration, without iteration 0: nothing was learnt by then."""
        iterations = self.first.iterations
        after = np.flatnonzero(iterations > 0)
        runs = [
            (sign, list(run)) for sign, run in groupby(after, lambda index: self.relation[index])
        ]
        return [
            Lead(
                (self.first if sign > 0 else self.second).name,
                int(iterations[run[0]]),
                int(iterations[run[-1]]),
                len(run),
            )
            for sign, run in runs
            if sign
        ]

    @property
    def claims(self) -> list[Lead]:
        """The leads long enough to speak of."""
        return [lead for lead in self.leads if lead.tests >= CONFIRMING_TESTS]

    @property
    def meeting(self) -> Optional[int]:
        """The first iteration from which the intervals overlap for good; None if they do not."""
        apart = np.flatnonzero(self.relation)
        start = apart[-1] + 1 if len(apart) else 0
        iterations = self.first.iterations
        return int(iterations[start]) if start < len(iterations) else None

    @property
    def has_intervals(self) -> bool:
        """Whether both arms have the two seeds that an interval needs."""
        return min(self.first.seeds, self.second.seeds) >= 2


def compare(first: Arm, second: Arm) -> Comparison:
    """Compare two arms at the iterations that both tested.

    Raises :class:`ToolError` where they share none.
    """
    shared = np.intersect1d(first.iterations, second.iterations)
    if not len(shared):
        raise ToolError(
            f"experiments {first.name!r} and {second.name!r} share no tested iteration; give "
            "their solvers the same test_interval"
        )
    one, other = first.at(shared), second.at(shared)
    gap = one.mean - other.mean
    # NaN where there is no interval: every comparison with it is false, so no lead.
    reach = one.half_width + other.half_width
    relation = np.where(np.abs(gap) > reach, np.sign(gap), 0).astype(np.int64)
    return Comparison(one, other, relation)


def compare_all(arms: Sequence[Arm]) -> list[Comparison]:
    """Every pair of arms, in the order given."""
    return [compare(first, second) for first, second in combinations(arms, 2)]


@dataclass(frozen=True)
class Reach:
    """How long an arm took to an accuracy: ``iterations`` is None unless all seeds got there."""

    reached: int
    seeds: int
    iterations: Optional[Estimate]


def reach(histories: Sequence[History], accuracy: float) -> Reach:
    """The iterations to ``accuracy`` over the seeds, see :func:`iterations_to_reach`.

    A mean over only those seeds that got there would flatter the arm, so it is given only
    where all did.
    """
    needed = [iterations_to_reach(history, accuracy) for history in histories]
    arrived = [count for count in needed if count is not None]
    whole = len(arrived) == len(histories)
    return Reach(len(arrived), len(histories), estimate(arrived) if whole else None)


def reach_table(
    histories: Mapping[str, Sequence[History]], accuracies: Sequence[float]
) -> dict[str, list[Reach]]:
    """For each experiment one :class:`Reach` an accuracy."""
    return {
        name: [reach(runs, accuracy) for accuracy in accuracies] for name, runs in histories.items()
    }
