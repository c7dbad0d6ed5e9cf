"""Scores a trained net on every entry of an LMDB, each exactly once.

The net is the TEST phase of a ``train_val.prototxt`` with its Data layer pointed at the
LMDB, so that the transformation (mean, scale, crop) is the one it was trained with. With
``--crops 10`` it is judged by ten crops of each image as well.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Optional

import numpy as np

from caffetools import bootstrap, calibration, databases, metrics, prototxt, scoring, ten_crop
from caffetools.classes import class_names
from caffetools.cli import ToolError, run
from caffetools.files import write_csv, write_json
from caffetools.scoring import Outcome

TOP = 5

log = logging.getLogger("caffetools.evaluate")


def write_results(
    folder: Path,
    outcome: Outcome,
    names: Sequence[str],
    keys: Sequence[str],
    ten_crop: Optional[Outcome] = None,
    resamples: int = bootstrap.RESAMPLES,
) -> None:
    """Write ``evaluation.json``, ``per_class``, ``confusion``, ``calibration`` and ``predictions``.

    All but the first are CSV; what is told of ten crops stands in ``evaluation.json`` alone.
    """
    classes = len(names)
    confusion = metrics.confusion_matrix(outcome.labels, outcome.predicted, classes)
    figures = metrics.class_figures(confusion)
    per_class = [
        {
            "label": label,
            "class": names[label],
            "precision": float(figures.precision[label]),
            "recall": float(figures.recall[label]),
            "f1": float(figures.f1[label]),
            "support": int(figures.support[label]),
        }
        for label in range(classes)
    ]
    entries = len(outcome.labels)
    bins = calibration.reliability(outcome.confidence, outcome.predicted == outcome.labels)
    write_csv(folder / "per_class.csv", list(per_class[0]), [row.values() for row in per_class])
    write_csv(
        folder / "confusion.csv",
        ["true \\ predicted", *names],
        [[name, *row] for name, row in zip(names, confusion.tolist())],
    )
    write_csv(folder / "calibration.csv", calibration.COLUMNS, bins.rows())
    _write_predictions(folder / "predictions.csv", outcome, keys)
    summary = {
        "entries": entries,
        "errors": metrics.count_errors(outcome.scores, outcome.labels),
        **merit(outcome, resamples),
        "calibration": {
            "bins": len(bins.entries),
            "expected_error": bins.expected_error,
            "largest_error": bins.largest_error,
        },
        "ten_crop": None if ten_crop is None else merit(ten_crop, resamples),
        "per_class": per_class,
    }
    write_json(folder / "evaluation.json", summary)


def merit(outcome: Outcome, resamples: int) -> dict[str, Any]:
    """Figures of merit, and the 95 % interval that each has over the test entries.

    ``top_5_accuracy`` is None of a net with at most five classes, which cannot be wrong.
    """
    entries, classes = outcome.scores.shape
    hits = outcome.predicted == outcome.labels
    losses = metrics.losses(outcome.log_probabilities, outcome.labels)
    statistics: dict[str, bootstrap.Statistic] = {
        "accuracy": lambda drawn: float(np.mean(hits[drawn])),
        "mean_loss": lambda drawn: float(np.mean(losses[drawn])),
        "macro_f1": lambda drawn: metrics.macro_f1(
            outcome.labels[drawn], outcome.predicted[drawn], classes
        ),
    }
    if classes > TOP:
        among_five = metrics.in_top_k(outcome.scores, outcome.labels, TOP)
        statistics[f"top_{TOP}_accuracy"] = lambda drawn: float(np.mean(among_five[drawn]))
    every = np.arange(entries)
    figures = {name: statistic(every) for name, statistic in statistics.items()}
    return {
        f"top_{TOP}_accuracy": None,
        **figures,
        "error_rate": 1.0 - figures["accuracy"],
        "intervals": bootstrap.intervals(statistics, entries, resamples),
    }


def _write_predictions(path: Path, outcome: Outcome, keys: Sequence[str]) -> None:
    """One row an entry: index in LMDB order, label, class predicted, its probability, and key."""
    probabilities = (format(value, ".6g") for value in outcome.confidence)
    table = zip(range(len(keys)), outcome.labels, outcome.predicted, probabilities, keys)
    write_csv(path, ["index", "label", "predicted", "probability", "key"], table)


def _check_inputs(net: Path, weights: Path, lmdb: Path) -> None:
    # BVLC's build ends the process where a file is missing, so they are looked for here.
    for what, path in (("--net", net), ("--weights", weights), ("--lmdb", lmdb / "data.mdb")):
        if not path.is_file():
            raise ToolError(f"{what}: expected a file {path}, found none; make it first")


def main(arguments: Sequence[str]) -> None:
    """``python -m caffetools.evaluate``"""
    parser = argparse.ArgumentParser(prog="python -m caffetools.evaluate", description=__doc__)
    parser.add_argument("--net", type=Path, required=True, help="train_val.prototxt")
    parser.add_argument("--weights", type=Path, required=True, help=".caffemodel to judge")
    parser.add_argument("--lmdb", type=Path, required=True, help="LMDB to judge it on")
    parser.add_argument("--output-dir", type=Path, required=True, help="folder for the results")
    parser.add_argument("--classes", type=Path, help="classes.txt (default: name them 0, 1, ...)")
    parser.add_argument("--entries", type=int, help="how many entries (default: all)")
    parser.add_argument(
        "--crops", type=int, choices=(1, 10), default=1,
        help="1: the middle of each image (default); 10: corners and mirrors as well",
    )  # fmt: skip
    parser.add_argument(
        "--resamples", type=int, default=bootstrap.RESAMPLES,
        help="resamples that intervals are taken from (default: %(default)s)",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    _check_inputs(options.net, options.weights, options.lmdb)
    entries = scoring.entries_of(options.lmdb) if options.entries is None else options.entries
    if entries < 1:
        raise ToolError(f"expected at least one entry to judge, found {entries}; see --entries")
    if options.resamples < 1:
        raise ToolError(f"--resamples: expected at least 1, found {options.resamples}")
    net = prototxt.read_net(options.net)
    by_ten = None
    if options.crops == 10:
        by_ten = ten_crop.forward(net, options.lmdb, options.weights, entries)
    scored = scoring.net_on(net, options.lmdb)
    outcome = scoring.forward(scored, options.weights, entries)
    names = class_names(options.classes, outcome.scores.shape[1])
    keys = [
        key.decode("utf-8", "backslashreplace")
        for key in islice(databases.keys(options.lmdb), entries)
    ]
    write_results(options.output_dir, outcome, names, keys, by_ten, options.resamples)
    errors = metrics.count_errors(outcome.scores, outcome.labels)
    log.info("%d errors in %d entries, accuracy %.4f", errors, entries, 1 - errors / entries)


if __name__ == "__main__":
    run(main)
