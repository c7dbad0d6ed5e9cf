"""Intervals that say how far figures of merit would move on other test images.

Percentile bootstrap: the N test entries are drawn anew N times with replacement, each figure is
computed of every such resample, and the interval holds the middle 95 % of what comes out. It
knows of no image that was not drawn: a net without a single error gets an interval without
width, although its error rate may well be as high as about ``3 / N``.

Source: Efron, *Bootstrap Methods: Another Look at the Jackknife*, 1979.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

CONFIDENCE = 0.95
RESAMPLES = 2000
_SEED = 0  # the same entries give the same interval

Statistic = Callable[[np.ndarray], float]


def intervals(
    statistics: Mapping[str, Statistic], entries: int, resamples: int = RESAMPLES
) -> dict[str, tuple[float, float]]:
    """The lower and the upper end of each figure's 95 % interval.

    A statistic takes the positions (``entries``,) of the entries that were drawn and gives the
    figure of them. All are computed of the same resamples.
    """
    random = np.random.default_rng(_SEED)
    found = np.empty((resamples, len(statistics)))
    for row in found:
        drawn = random.integers(0, entries, entries)
        row[:] = [statistic(drawn) for statistic in statistics.values()]
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(found, [tail, 100 - tail], axis=0)
    return {name: (float(a), float(b)) for name, a, b in zip(statistics, low, high)}
