"""Whether the labels fit the net and the classes, and how they are spread."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Optional

import numpy as np

from caffetools import prototxt
from caffetools.preflight.finding import ERROR, NOTE, WARNING, Finding
from caffetools.preflight.records import Records, expected_run_ends, run_ends, some
from caffetools.prototxt import HEAD_PARAMETERS

_IMBALANCE = 10  # times as many images of one class as of another
# Shares of the changes of label that a random order has.
PARTLY_SORTED, SORTED = 0.5, 0.25


def outputs(layers: Sequence[Any]) -> Optional[int]:
    """The number of classes that the main loss of one phase's layers tells apart.

    None where that does not follow from a layer's ``num_output``.
    """
    place = prototxt.main_loss(layers)
    if place is None:
        return None
    blob = layers[place].bottom[0]
    for layer in reversed(prototxt.upstream(layers, place)):
        if blob in layer.top:
            if layer.type in HEAD_PARAMETERS:
                return int(getattr(layer, HEAD_PARAMETERS[layer.type]).num_output)
            # Through layers that change no shape, such as Dropout.
            blob = layer.bottom[0] if layer.bottom else blob
    return None


def labels(records: Records, layers: Sequence[Any], classes: Optional[int]) -> Iterator[Finding]:
    """Labels outside the net's classes, classes without images, and too many of one class."""
    place, count = str(records.place), outputs(layers)
    if count is not None and classes is not None and count != classes:
        yield Finding(
            ERROR, "labels", "the net",
            f"its main head has num_output {count}, and the data set has {classes} classes",
            f"set num_output: {classes}",
        )  # fmt: skip
    count = count or classes
    if not records.is_whole:
        yield Finding(
            NOTE, "labels", place,
            f"of {records.entries} records {len(records.labels)}, evenly spaced, were looked at",
        )  # fmt: skip
    if count is None:
        return
    yield from _range(records, layers, count)
    sizes = np.bincount(records.labels[_inside(records.labels, count)], minlength=count)
    yield from _spread(place, sizes)


def _inside(values: np.ndarray, count: int) -> np.ndarray:
    return (values >= 0) & (values < count)


def _range(records: Records, layers: Sequence[Any], count: int) -> Iterator[Finding]:
    found = prototxt.main_loss(layers)
    outside = ~_inside(records.labels, count)
    if found is not None and layers[found].loss_param.HasField("ignore_label"):
        outside &= records.labels != layers[found].loss_param.ignore_label
    if not outside.any():
        return
    keys = [key for key, is_outside in zip(records.keys, outside) if is_outside]
    low, high = int(records.labels.min()), int(records.labels.max())
    from_one = low == 1 and high == count
    yield Finding(
        ERROR, "labels", str(records.place),
        f"labels from {low} to {high}, expected 0 to {count - 1} (num_output {count})"
        + ("; your labels start at 1, Caffe's at 0" if from_one else "")
        + f"; outside: {some(keys)}",
        "convert the images again with labels from 0" if from_one or low < 0
        else f"set num_output: {high + 1}, or correct the labels",
    )  # fmt: skip


def _spread(place: str, sizes: np.ndarray) -> Iterator[Finding]:
    absent = [str(label) for label in np.flatnonzero(sizes == 0)]
    if absent:
        yield Finding(
            WARNING, "class-histogram", place,
            f"no record of {'class' if len(absent) == 1 else 'classes'} {some(absent)}",
            "add images, or take the class away",
        )  # fmt: skip
    least, most = int(np.argmin(sizes + (sizes == 0) * sizes.max())), int(np.argmax(sizes))
    if sizes[most] > _IMBALANCE * sizes[least] > 0:
        yield Finding(
            WARNING, "class-histogram", place,
            f"{sizes[most]} records of class {most} and {sizes[least]} of class {least}: a net can "
            "do well by the large classes alone",
            "weigh the classes (caffetools.solvers.class_weights), or look at the macro F1",
        )  # fmt: skip


def order(records: Records, batch_size: int) -> Iterator[Finding]:
    """Records sorted by class, whose batches would hold one class each."""
    found, expected = run_ends(records.labels), expected_run_ends(records.labels)
    if found < PARTLY_SORTED * expected and batch_size < records.entries:
        yield Finding(
            ERROR if found < SORTED * expected else WARNING, "shuffling", str(records.place),
            f"records are not shuffled: their label changes {found} times, in a random order it "
            f"would about {expected:.0f} times; so batches of {batch_size} hold few classes each",
            "convert the images again with --shuffle, or let Recaffe read them shuffled: "
            "`shuffle: true`",
        )  # fmt: skip


def histogram(records: Records, count: Optional[int]) -> list[int]:
    """How many records each class has."""
    inside = records.labels[records.labels >= 0]
    return [int(size) for size in np.bincount(inside, minlength=count or 0)]
