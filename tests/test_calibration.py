"""caffetools.calibration against loops over entries."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from caffetools.calibration import COLUMNS, Reliability, read_reliability, reliability
from caffetools.cli import ToolError
from caffetools.plots import calibration as figure

BINS = 5


@pytest.fixture
def entries() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(4)
    confidence = np.concatenate([random.uniform(0.15, 1, 60), [0.2, 0.4, 1.0, 0.0]])
    return confidence, random.uniform(size=64) < confidence**2


def test_bins_hold_what_lies_between_their_edges(entries: tuple[np.ndarray, np.ndarray]) -> None:
    confidence, right = entries
    found = reliability(confidence, right, BINS)
    for index in range(BINS):
        low, high = index / BINS, (index + 1) / BINS
        inside = [low < value <= high or (index == 0 and value == 0) for value in confidence]
        assert found.entries[index] == sum(inside)
        assert found.confidence[index] == pytest.approx(np.mean(confidence[inside]))
        assert found.accuracy[index] == pytest.approx(np.mean(right[inside]))


def test_errors_are_those_of_the_bins(entries: tuple[np.ndarray, np.ndarray]) -> None:
    confidence, right = entries
    gaps, shares = [], []
    for index in range(BINS):
        inside = np.clip(np.ceil(confidence * BINS), 1, BINS) == index + 1
        gaps.append(abs(np.mean(right[inside]) - np.mean(confidence[inside])))
        shares.append(np.mean(inside))
    found = reliability(confidence, right, BINS)
    assert found.expected_error == pytest.approx(np.dot(shares, gaps))
    assert found.largest_error == pytest.approx(max(gaps))


def test_an_empty_bin_counts_for_nothing() -> None:
    found = reliability(np.array([0.9, 0.9]), np.array([True, False]))
    assert np.isnan(found.accuracy[:8]).all()
    assert found.expected_error == pytest.approx(0.4)
    assert found.largest_error == pytest.approx(0.4)


def write(path: Path, found: Reliability) -> Path:
    path.write_text("".join(",".join(row) + "\n" for row in (COLUMNS, *found.rows())))
    return path


def test_a_file_gives_the_bins_back(entries: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> None:
    found = reliability(*entries)
    again = read_reliability(write(tmp_path / "calibration.csv", found))
    for name in ("entries", "hits", "confidence_sum"):
        np.testing.assert_allclose(getattr(again, name), getattr(found, name), rtol=1e-8)


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", ",".join(COLUMNS) + "\n0,1,2,x,4\n"])
def test_another_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "c.csv").write_text(text)
    with pytest.raises(ToolError, match=r"c\.csv: expected the columns above,up to"):
        read_reliability(tmp_path / "c.csv")


def test_the_figure_adds_runs_up(entries: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> None:
    confidence, right = entries
    halves = [
        write(tmp_path / f"{part}.csv", reliability(confidence[part::2], right[part::2]))
        for part in range(2)
    ]
    total = figure.sum_of(halves)
    np.testing.assert_array_equal(total.entries, reliability(confidence, right).entries)
    assert total.expected_error == pytest.approx(reliability(confidence, right).expected_error)

    arguments = ["--calibration", *map(str, halves), "--output", str(tmp_path / "figure.png")]
    figure.main(arguments)
    first = (tmp_path / "figure.png").read_bytes()
    figure.main(arguments)
    assert (tmp_path / "figure.png").read_bytes() == first


def test_runs_of_different_bins_are_not_added(tmp_path: Path) -> None:
    paths = [
        write(tmp_path / f"{bins}.csv", reliability(np.array([0.5]), np.array([True]), bins))
        for bins in (4, 5)
    ]
    with pytest.raises(ToolError, match="expected equally many bins"):
        figure.sum_of(paths)
