"""Which experiments differ on the test split, and how sure that is.

Two experiments of at least two seeds each are compared by Welch's t test on their test accuracies:
with means ``m``, sample variances ``s2`` and ``n`` seeds,

    t = (m1 - m2) / sqrt(s2_1 / n1 + s2_2 / n2)

with Welch and Satterthwaite's degrees of freedom. It asks whether training again with other seeds
would part them as well, on these images. Where one of them has a single seed, McNemar's exact test
asks whether other images would: of the images that exactly one of the two nets (of the first seed
each) gets right, either should have about half. P values are two-sided and made fit for many pairs
by Holm's method.

Sources: Welch, *Biometrika* 34 (1947); McNemar, *Psychometrika* 12 (1947); Holm, *Scandinavian
Journal of Statistics* 6 (1979).
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import numpy as np
from scipy.special import bdtr, stdtr, stdtrit

from caffetools.cli import ToolError, run
from caffetools.comparison import CONFIDENCE
from caffetools.files import write_csv
from caffetools.plots.comparison import parse_run
from caffetools.predictions import read_predictions

WELCH, MCNEMAR = "Welch's t test over seeds", "McNemar's exact test over images"
COLUMNS = ["first", "second", "difference", "half width", "p", "p (Holm)", "test"]


@dataclass(frozen=True)
class Difference:
    """How two experiments differ: accuracy of the first less that of the second.

    ``half_width`` is half the width of its 95 % interval over seeds, NaN where one of them has
    a single seed; ``p`` is NaN where the seeds do not differ among themselves at all, and
    ``adjusted`` is Holm's.
    """

    first: str
    second: str
    difference: float
    half_width: float
    p: float
    test: str
    adjusted: float = float("nan")


@dataclass(frozen=True)
class Trained:
    """Test accuracies of an experiment, one a seed, and which images its first seed got right."""

    accuracies: Sequence[float]
    right: np.ndarray


def differences(experiments: Mapping[str, Trained]) -> list[Difference]:
    """Every pair of experiments in the order given, with adjusted P values."""
    found = [
        _difference(one, experiments[one], other, experiments[other])
        for one, other in combinations(experiments, 2)
    ]
    adjusted = holm([each.p for each in found])
    return [replace(each, adjusted=p) for each, p in zip(found, adjusted)]


def _difference(one: str, first: Trained, other: str, second: Trained) -> Difference:
    gap = float(np.mean(first.accuracies) - np.mean(second.accuracies))
    if min(len(first.accuracies), len(second.accuracies)) > 1:
        half_width, p = welch(first.accuracies, second.accuracies)
        return Difference(one, other, gap, half_width, p, WELCH)
    if len(first.right) != len(second.right):
        raise ToolError(
            f"experiments {one!r} and {other!r} were evaluated on {len(first.right)} and "
            f"{len(second.right)} images; expected the same ones, so evaluate them again"
        )
    return Difference(one, other, gap, float("nan"), mcnemar(first.right, second.right), MCNEMAR)


def welch(first: Sequence[float], second: Sequence[float]) -> tuple[float, float]:
    """Half the width of the 95 % interval of the difference of means, and the P value.

    Where neither sample has any spread, there is nothing to hold the difference against: the
    width is 0 and the P value NaN.
    """
    errors = [np.var(values, ddof=1) / len(values) for values in (first, second)]
    error = float(np.sqrt(sum(errors)))
    if error == 0:
        return 0.0, float("nan")
    freedom = sum(errors) ** 2 / sum(
        each**2 / (len(values) - 1) for each, values in zip(errors, (first, second))
    )
    gap = abs(float(np.mean(first) - np.mean(second)))
    half_width = float(stdtrit(freedom, (1 + CONFIDENCE) / 2)) * error
    return half_width, float(2 * stdtr(freedom, -gap / error))


def mcnemar(first: np.ndarray, second: np.ndarray) -> float:
    """The two-sided P value of McNemar's exact test; both (N,) say which images are right."""
    one, other = int(np.sum(first & ~second)), int(np.sum(second & ~first))
    return min(1.0, 2 * float(bdtr(min(one, other), one + other, 0.5)))


def holm(values: Sequence[float]) -> list[float]:
    """P values adjusted for all of them being looked at; NaN stays, and counts for nothing."""
    p = np.asarray(values, dtype=np.float64)
    adjusted = np.full(len(p), np.nan)
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    steps = p[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return [float(value) for value in adjusted]


def read_trained(texts: Sequence[str]) -> dict[str, Trained]:
    """The experiments of ``EXPERIMENT:SEED:DIR`` entries, in the order first named."""
    folders: dict[str, list[Path]] = {}
    for text in texts:
        experiment, _, folder = parse_run(text)
        folders.setdefault(experiment, []).append(folder)
    return {
        name: Trained([_accuracy(folder / "evaluation.json") for folder in group], _right(group[0]))
        for name, group in folders.items()
    }


def _accuracy(path: Path) -> float:
    try:
        return float(json.loads(path.read_text(encoding="utf-8"))["accuracy"])
    except (KeyError, TypeError, ValueError) as error:
        raise ToolError(
            f"{path}: expected JSON with a number 'accuracy' ({error!r}); evaluate again"
        ) from error


def _right(folder: Path) -> np.ndarray:
    predictions = read_predictions(folder / "predictions.csv")
    return np.array([one.label == one.predicted for one in predictions], dtype=bool)


def write_differences(path: Path, found: Sequence[Difference]) -> None:
    """Write a CSV with a row of :data:`COLUMNS` for each pair."""
    numbers = [(each.difference, each.half_width, each.p, each.adjusted) for each in found]
    rows = (
        [each.first, each.second, *(format(value, ".9g") for value in values), each.test]
        for each, values in zip(found, numbers)
    )
    write_csv(path, COLUMNS, rows)


def read_differences(path: Path) -> list[Difference]:
    """The pairs of a ``significance.csv``; :class:`ToolError` naming it where it is none."""
    with path.open(newline="", encoding="utf-8") as stream:
        header, *rows = list(csv.reader(stream)) or [[]]
    try:
        if header != COLUMNS:
            raise ValueError(f"the columns {','.join(header)}")
        return [
            Difference(one, other, float(gap), float(half), float(p), test, float(adjusted))
            for one, other, gap, half, p, adjusted, test in rows
        ]
    except ValueError as error:
        raise ToolError(
            f"{path}: expected the columns {','.join(COLUMNS)}, found {error}; make it again"
        ) from error


def main(arguments: Sequence[str]) -> None:
    """``python -m caffetools.significance``"""
    parser = argparse.ArgumentParser(prog="python -m caffetools.significance", description=__doc__)
    parser.add_argument(
        "--run",
        nargs="+",
        action="extend",
        required=True,
        metavar="EXPERIMENT:SEED:DIR",
        help="a run's folder with evaluation.json and predictions.csv; one for each run",
    )
    parser.add_argument("--output", type=Path, required=True, help="CSV to write")
    options = parser.parse_args(arguments)
    write_differences(options.output, differences(read_trained(options.run)))


if __name__ == "__main__":
    run(main)
