"""caffetools.bootstrap against SciPy's bootstrap, and against what is known of proportions."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from caffetools.bootstrap import intervals

VALUES = np.random.default_rng(1).exponential(size=300)


def mean_of(values: np.ndarray) -> dict[str, tuple[float, float]]:
    return intervals({"mean": lambda drawn: float(np.mean(values[drawn]))}, len(values))


def test_a_mean_has_scipys_interval() -> None:
    expected = stats.bootstrap(
        (VALUES,), np.mean, n_resamples=20000, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval
    width = expected.high - expected.low
    low, high = mean_of(VALUES)["mean"]
    assert low == pytest.approx(expected.low, abs=0.05 * width)
    assert high == pytest.approx(expected.high, abs=0.05 * width)


def test_a_proportions_interval_has_the_width_of_the_normal_law() -> None:
    hits = np.arange(400) < 300
    low, high = mean_of(hits)["mean"]
    assert (high - low) / 2 == pytest.approx(1.96 * np.sqrt(0.75 * 0.25 / 400), rel=0.05)
    assert (high + low) / 2 == pytest.approx(0.75, abs=0.003)


def test_all_figures_are_of_the_same_resamples() -> None:
    found = intervals(
        {
            "mean": lambda drawn: float(np.mean(VALUES[drawn])),
            "less": lambda drawn: float(-np.mean(VALUES[drawn])),
        },
        len(VALUES),
        resamples=200,
    )
    assert found["less"] == pytest.approx((-found["mean"][1], -found["mean"][0]))


def test_the_same_entries_give_the_same_interval() -> None:
    assert mean_of(VALUES) == mean_of(VALUES)


def test_no_error_gives_no_width() -> None:
    assert mean_of(np.ones(50))["mean"] == (1.0, 1.0)
