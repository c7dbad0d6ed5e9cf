"""Looks through a data set: every label, without reading the pixels; the pixels of a few."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from caffetools import databases
from caffetools.cli import ToolError
from caffetools.datum_fields import read_fields
from caffetools.datums import pixels_of

MOST_LABELS = 200_000  # records whose labels are looked at; of more, evenly spaced ones
MOST_IMAGES = 64


@dataclass(frozen=True)
class Records:
    """What was seen of a data set.

    Attributes:
        place: the data set's folder.
        entries: how many records it has.
        keys, labels: of the records that were looked at, in order.
        images: a few of them, evenly spaced, each (channels, height, width).
    """

    place: Path
    entries: int
    keys: list[str]
    labels: np.ndarray
    images: list[np.ndarray]

    @property
    def is_whole(self) -> bool:
        """Whether every record was looked at."""
        return len(self.labels) == self.entries


def look_through(place: Path, backend: str) -> Records:
    """Look through an LMDB or LevelDB.

    Raises :class:`ToolError` where it is none, is empty, or a record is no Datum.
    """
    keys: list[str] = []
    labels: list[int] = []
    images: list[np.ndarray] = []
    # The one that counts them must be closed before LMDB lets another one open the folder.
    with contextlib.closing(databases.keys(place, backend)) as all_keys:
        entries = sum(1 for _ in all_keys)
    if not entries:
        raise ToolError(f"{place}: expected records, found an empty data set; convert images to it")
    step = -(-entries // MOST_LABELS)
    looked_at = -(-entries // step)
    shown_at = {
        index * looked_at // min(MOST_IMAGES, looked_at)
        for index in range(min(MOST_IMAGES, looked_at))
    }
    with contextlib.closing(databases.views(place, backend, step)) as records:
        for number, (key, value) in enumerate(records):
            name = bytes(key).decode("utf-8", "backslashreplace")
            try:
                labels.append(label_of(value))
                if number in shown_at:
                    images.append(pixels_of(bytes(value)))
            except ValueError as error:
                raise ToolError(
                    f"{place}, record {name!r}: expected a Datum, found that {error}; convert the "
                    "images again"
                ) from error
            keys.append(name)
    return Records(place, entries, keys, np.array(labels, dtype=np.int64), images)


def label_of(value: memoryview) -> int:
    """The label of a serialized Datum, 0 if it has none; ValueError where it is no Datum."""
    return read_fields(value).label


def run_ends(labels: np.ndarray) -> int:
    """How often the label changes from one record to the next."""
    return int(np.count_nonzero(np.diff(labels)))


def expected_run_ends(labels: np.ndarray) -> float:
    """How often it would in a random order, as :func:`expected_changes` tells."""
    return expected_changes(np.unique(labels, return_counts=True)[1])


def expected_changes(sizes: np.ndarray) -> float:
    """How often the label changes in a random order of classes of these sizes.

    It is ``(N - 1) (1 - sum_c n_c (n_c - 1) / N (N - 1))``.
    """
    sizes = sizes.astype(np.float64)
    count = float(sizes.sum())
    if count < 2:
        return 0.0
    return (count - 1) * (1 - float(np.sum(sizes * (sizes - 1))) / (count * (count - 1)))


def some(names: list[str], most: int = 5) -> str:
    """The first names of a list, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
