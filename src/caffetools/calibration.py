"""Whether a net is right as often as its probabilities say.

Entries are sorted into bins of equal width by their confidence, the probability that the net
gave to the class it predicted. A calibrated net's accuracy in each bin is its mean confidence.

Source: Guo, Pleiss, Sun and Weinberger, *On Calibration of Modern Neural Networks*, 2017.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from caffetools.cli import ToolError

BINS = 10
COLUMNS = ["above", "up to", "entries", "hits", "confidence sum"]


@dataclass(frozen=True)
class Reliability:
    """By bin, all (bins,): entries, and the sums of their confidences and of their hits.

    Bin ``b`` of ``B`` holds the confidences above ``b / B``, up to ``(b + 1) / B``.
    """

    entries: np.ndarray
    confidence_sum: np.ndarray
    hits: np.ndarray

    @property
    def confidence(self) -> np.ndarray:
        """(bins,) mean confidence, NaN where the bin is empty."""
        return _mean(self.confidence_sum, self.entries)

    @property
    def accuracy(self) -> np.ndarray:
        """(bins,) share of the bin's entries that are right, NaN where the bin is empty."""
        return _mean(self.hits, self.entries)

    @property
    def expected_error(self) -> float:
        """``sum_b n_b / N |accuracy_b - confidence_b|``, the expected calibration error."""
        return float(np.sum(np.abs(self.hits - self.confidence_sum)) / np.sum(self.entries))

    @property
    def largest_error(self) -> float:
        """``max_b |accuracy_b - confidence_b|`` over the bins with entries."""
        return float(np.nanmax(np.abs(self.accuracy - self.confidence)))

    def rows(self) -> Iterator[tuple[str, ...]]:
        """A row of :data:`COLUMNS` for each bin, as ``calibration.csv`` has them."""
        edges = np.linspace(0, 1, len(self.entries) + 1)
        columns = (edges, edges[1:], self.entries, self.hits, self.confidence_sum)
        for row in zip(*columns):
            yield tuple(format(value, ".9g") for value in row)

    def __add__(self, other: Reliability) -> Reliability:
        return Reliability(
            self.entries + other.entries,
            self.confidence_sum + other.confidence_sum,
            self.hits + other.hits,
        )


def reliability(confidence: np.ndarray, right: np.ndarray, bins: int = BINS) -> Reliability:
    """Sort N entries by ``confidence`` (N,), from 0 to 1; ``right`` (N,) says which are hits."""
    # The bin's upper edge belongs to it, so that a confidence of 1 is in the last one.
    places = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    return Reliability(
        np.bincount(places, minlength=bins),
        np.bincount(places, weights=confidence, minlength=bins),
        np.bincount(places, weights=right, minlength=bins),
    )


def read_reliability(path: Path) -> Reliability:
    """The bins of a ``calibration.csv``; :class:`ToolError` naming it where it is none."""
    with path.open(newline="", encoding="utf-8") as stream:
        header, *rows = list(csv.reader(stream)) or [[]]
    try:
        values = np.array(rows, dtype=np.float64)
        if header != COLUMNS or values.shape != (len(rows), len(COLUMNS)) or not rows:
            raise ValueError(f"the columns {','.join(header)}")
    except ValueError as error:
        raise ToolError(
            f"{path}: expected the columns {','.join(COLUMNS)} with a row of numbers for each bin, "
            f"found {error}; evaluate again to write it afresh"
        ) from error
    return Reliability(values[:, 2].astype(np.int64), values[:, 4], values[:, 3])


def _mean(sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    return np.divide(sums, counts, out=np.full(len(counts), np.nan), where=counts > 0)
