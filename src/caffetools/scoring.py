"""Runs a trained net over every entry of an LMDB, each exactly once.

The net is the TEST phase of a ``train_val.prototxt`` with its Data layer pointed at the
LMDB, so that the transformation (mean, scale, crop) is the one it was trained with.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

import numpy as np

from caffetools import metrics, prototxt
from caffetools.cli import ToolError
from caffetools.weights import layer_names

# BVLC's build logs its whole net to stderr; it reads this when it is imported.
os.environ.setdefault("GLOG_minloglevel", "1")
import caffe


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

    @classmethod
    def of_probabilities(cls, probabilities: np.ndarray, labels: np.ndarray) -> Outcome:
        """The outcome of a net whose scores are probabilities already."""
        # The floor is Caffe's own (FLT_MIN), so that the loss of a certain mistake is finite.
        floored = np.maximum(probabilities.astype(np.float64), np.finfo(np.float32).tiny)
        return cls(probabilities, np.log(floored), labels.astype(np.int64))

    @property
    def predicted(self) -> np.ndarray:
        """(N,) the class of each entry's highest score."""
        return np.argmax(self.scores, axis=1)

    @property
    def confidence(self) -> np.ndarray:
        """(N,) the probability that the net gave to the class it predicted."""
        return np.exp(self.log_probabilities[np.arange(len(self.labels)), self.predicted])


def net_on(net: Any, lmdb: Path) -> ScoredNet:
    """The TEST phase of a NetParameter, its one Data layer reading ``lmdb``; ``net`` is changed."""
    layers = prototxt.phase_view(net, prototxt.TEST)
    data_layer_on(layers, lmdb)
    scores, labels = prototxt.scores_and_labels(layers)
    source = prototxt.producers(layers, scores)
    are_probabilities = bool(source) and source[-1].type == "Softmax"
    return ScoredNet(net, scores, labels, are_probabilities)


def data_layer_on(layers: Sequence[Any], lmdb: Path) -> Any:
    """The one Data layer of a phase, which from now on reads ``lmdb`` from its start.

    Raises :class:`ToolError` unless there is exactly one.
    """
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
    return data[0]


def forward(scored: ScoredNet, weights: Path, entries: int) -> Outcome:
    """Run the first ``entries`` entries through the net with ``weights``.

    A Data layer goes round, so the last batch is cut where the entries end.
    """
    net = load(scored.message, weights)
    scores, labels = zip(*_batches(net, scored, entries))
    all_scores, all_labels = np.concatenate(scores)[:entries], np.concatenate(labels)[:entries]
    if scored.are_probabilities:
        return Outcome.of_probabilities(all_scores, all_labels)
    return Outcome(all_scores, metrics.log_softmax(all_scores), all_labels.astype(np.int64))


def load(message: Any, weights: Optional[Path] = None, phase: int = prototxt.TEST) -> Any:
    """The net of a NetParameter in one phase, with the weights of a file if one is given.

    Raises :class:`ToolError` where a layer of the net has none in the file.
    """
    # Before Caffe reads it: BVLC's build ends the process on a file that is cut off.
    known = _layers_of(weights) if weights else None
    given = {"weights": str(weights)} if weights else {}
    with _written(message) as path:
        net = caffe.Net(str(path), phase, **given)
    if weights and known is not None:
        _check_names(net, weights, known)
    return net


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
