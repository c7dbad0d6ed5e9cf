"""Scores a trained net on every entry of an LMDB, each exactly once.

The net is the TEST phase of a ``train_val.prototxt`` with its Data layer pointed at the
LMDB, so that the transformation (mean, scale, crop) is the one it was trained with.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import logging
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

import numpy as np

from caffetools import metrics, prototxt
from caffetools.cli import ToolError, run
from caffetools.files import write_json, write_text
from caffetools.weights import layer_names

# BVLC's build logs its whole net to stderr; it reads this when it is imported.
os.environ.setdefault("GLOG_minloglevel", "1")
import caffe

log = logging.getLogger("caffetools.evaluate")


@dataclass(frozen=True)
class ScoredNet:
    """A TEST net that reads ``lmdb``, and the names of its scores and labels."""

    message: Any
    scores: str
    labels: str
    are_probabilities: bool


@dataclass(frozen=True)
class Outcome:
    """What the net made of N entries in LMDB order.

    ``scores`` and ``log_probabilities`` are (N, C), ``labels`` (N,) whole numbers.
    """

    scores: np.ndarray
    log_probabilities: np.ndarray
    labels: np.ndarray

    @property
    def predicted(self) -> np.ndarray:
        """(N,) the class of each entry's highest score."""
        return np.argmax(self.scores, axis=1)


def net_on(net: Any, lmdb: Path) -> ScoredNet:
    """The TEST phase of a NetParameter, its one Data layer reading ``lmdb``; ``net`` is changed."""
    layers = prototxt.phase_view(net, prototxt.TEST)
    data = [layer for layer in layers if layer.type == "Data"]
    if len(data) != 1:
        raise ToolError(
            f"expected one Data layer in the TEST phase, found {len(data)} "
            f"({', '.join(layer.name for layer in data) or 'none'}); give a train_val.prototxt"
        )
    parameter = data[0].data_param
    parameter.source = str(lmdb)
    parameter.backend = parameter.LMDB
    parameter.ClearField("rand_skip")
    scores, labels = prototxt.scores_and_labels(layers)
    source = prototxt.producers(layers, scores)
    are_probabilities = bool(source) and source[-1].type == "Softmax"
    return ScoredNet(net, scores, labels, are_probabilities)


def forward(scored: ScoredNet, weights: Path, entries: int) -> Outcome:
    """Run the first ``entries`` entries through the net with ``weights``.

    A Data layer goes round, so the last batch is cut where the entries end.
    """
    # Before Caffe reads it: BVLC's build ends the process on a file that is cut off.
    known = _layers_of(weights)
    with _written(scored.message) as path:
        net = caffe.Net(str(path), caffe.TEST, weights=str(weights))
    if known is not None:
        _check_names(net, weights, known)
    scores, labels = zip(*_batches(net, scored, entries))
    all_scores = np.concatenate(scores)[:entries]
    all_labels = np.concatenate(labels)[:entries].astype(np.int64)
    logs = _log_probabilities(all_scores, scored.are_probabilities)
    return Outcome(all_scores, logs, all_labels)


@contextmanager
def _written(message: Any) -> Iterator[Path]:
    """The net as a file, since pycaffe reads nets from files only."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "test.prototxt"
        prototxt.write(path, message)
        yield path


def _layers_of(weights: Path) -> Optional[set[str]]:
    """The layers that the file has weights for; None for HDF5, which only Caffe reads."""
    return None if weights.suffix == ".h5" else set(layer_names(weights))


def _check_names(net: Any, weights: Path, known: set[str]) -> None:
    """Caffe leaves a layer that the weights do not name as its filler made it, silently."""
    absent = sorted(set(net.params) - known)
    if absent:
        raise ToolError(
            f"{weights}: expected weights for every layer that has any, found none for "
            f"{', '.join(absent)}; evaluate the net that these weights were trained in"
        )


def _batches(net: Any, scored: ScoredNet, entries: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    done = 0
    while done < entries:
        net.forward()
        scores = np.array(net.blobs[scored.scores].data)
        if scores[0].size != scores.shape[1]:
            raise ToolError(
                f"blob {scored.scores!r}: expected scores (batch, classes), found shape "
                f"{scores.shape}; this command judges whole images, not places in them"
            )
        done += len(scores)
        yield scores.reshape(len(scores), -1), np.array(net.blobs[scored.labels].data).reshape(-1)


def _log_probabilities(scores: np.ndarray, are_probabilities: bool) -> np.ndarray:
    if not are_probabilities:
        return metrics.log_softmax(scores)
    # The floor is Caffe's own (FLT_MIN), so that the loss of a certain mistake is finite.
    return np.log(np.maximum(scores.astype(np.float64), np.finfo(np.float32).tiny))


def entries_of(lmdb: Path) -> int:
    """The number of entries, from the manifest ``<lmdb>.json`` that the conversion wrote."""
    manifest = lmdb.with_name(lmdb.name + ".json")
    try:
        return int(json.loads(manifest.read_text(encoding="utf-8"))["entries"])
    except (FileNotFoundError, KeyError, ValueError) as error:
        raise ToolError(
            f"{manifest}: expected a JSON manifest with 'entries' ({error!r}); convert the images "
            "with caffetools.lmdb, or say --entries N"
        ) from error


def class_names(path: Optional[Path], count: int) -> list[str]:
    """The lines of ``classes.txt``, or the labels themselves where there is none."""
    if path is None:
        return [str(label) for label in range(count)]
    names = path.read_text(encoding="utf-8").splitlines()
    if len(names) != count:
        raise ToolError(
            f"{path}: expected {count} classes, as many as the net has scores, found {len(names)}; "
            "give the list of the data set that the net was trained on"
        )
    return names


def write_results(folder: Path, outcome: Outcome, names: Sequence[str]) -> None:
    """Write ``evaluation.json``, ``per_class.csv``, ``confusion.csv``, ``predictions.csv``."""
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
    errors = metrics.count_errors(outcome.scores, outcome.labels)
    entries = len(outcome.labels)
    _write_csv(folder / "per_class.csv", list(per_class[0]), [row.values() for row in per_class])
    _write_csv(
        folder / "confusion.csv",
        ["true \\ predicted", *names],
        [[name, *row] for name, row in zip(names, confusion.tolist())],
    )
    _write_predictions(folder / "predictions.csv", outcome)
    summary = {
        "entries": entries,
        "errors": errors,
        "accuracy": metrics.accuracy(outcome.scores, outcome.labels),
        "error_rate": errors / entries,
        "mean_loss": metrics.mean_loss(outcome.log_probabilities, outcome.labels),
        "macro_f1": figures.macro_f1,
        "per_class": per_class,
    }
    write_json(folder / "evaluation.json", summary)


def _write_predictions(path: Path, outcome: Outcome) -> None:
    """One row an entry: index in LMDB order, label, class predicted and its probability."""
    rows = np.arange(len(outcome.labels))
    predicted = outcome.predicted
    probability = np.exp(outcome.log_probabilities[rows, predicted])
    table = zip(rows, outcome.labels, predicted, probability)
    header = ["index", "label", "predicted", "probability"]
    _write_csv(path, header, ([*row[:3], format(row[3], ".6g")] for row in table))


def _write_csv(path: Path, header: Sequence[str], rows: Any) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    write_text(path, text.getvalue())


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
    options = parser.parse_args(arguments)
    _check_inputs(options.net, options.weights, options.lmdb)
    entries = entries_of(options.lmdb) if options.entries is None else options.entries
    if entries < 1:
        raise ToolError(f"expected at least one entry to judge, found {entries}; see --entries")
    scored = net_on(prototxt.read_net(options.net), options.lmdb)
    outcome = forward(scored, options.weights, entries)
    names = class_names(options.classes, outcome.scores.shape[1])
    write_results(options.output_dir, outcome, names)
    errors = metrics.count_errors(outcome.scores, outcome.labels)
    log.info("%d errors in %d entries, accuracy %.4f", errors, entries, 1 - errors / entries)


if __name__ == "__main__":
    run(main)
