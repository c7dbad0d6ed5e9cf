"""What a database holds as a whole: counts, kinds, labels, and in which order they stand."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Optional

import numpy as np

from caffetools import databases
from caffetools.datum_fields import Fields, read_fields
from caffetools.preflight.labels import PARTLY_SORTED, SORTED
from caffetools.preflight.records import expected_changes
from caffetools.records.facts import Shape, as_text, shape_of, stored_as
from caffetools.records.place import Database, shown

_MOST_LABELS = 10_000  # that are counted each by itself, so that memory does not grow with them
_NUMBERED = re.compile(rb"(\d{1,18})(?:_|$)")


class Keys:
    """The first and the last key, and whether they count the records, as Caffe's tools' do.

    Those are ``00000042_cat/a.png`` of convert_imageset and ``0000000042`` of extract_features.
    """

    def __init__(self) -> None:
        self._first = self._last = b""
        self._count = self._numbered = self._steps = 0
        self._start = self._number = -1

    def add(self, key: bytes) -> None:
        """Look at the next key."""
        self._first = key if not self._count else self._first
        self._last = key
        self._count += 1
        match = _NUMBERED.match(key)
        if match is None:
            return
        number = int(match[1])
        self._start = number if not self._numbered else self._start
        self._steps += not self._numbered or number == self._number + 1
        self._number = number
        self._numbered += 1

    def __str__(self) -> str:
        if not self._count:
            return "none"
        return f"{shown(self._first)} to {shown(self._last)}, {self._form()}"

    def _form(self) -> str:
        if self._numbered < self._count:
            return "by name" if not self._numbered else "some with a number in front"
        if self._steps == self._count:
            return f"numbered {self._start} to {self._number} in order"
        missing = self._number - self._start + 1 - self._count
        told = f", {missing} left out" if missing > 0 else ""
        return f"numbered {self._start} to {self._number}, not one by one{told}"


class Labels:
    """How many records each label has, and how often it changes from record to record."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()
        self._others = self._changes = 0
        self._last: Optional[int] = None

    def add(self, label: int) -> None:
        """Look at the next label."""
        if label in self._counts or len(self._counts) < _MOST_LABELS:
            self._counts[label] += 1
        else:
            self._others += 1
        self._changes += self._last not in (None, label)
        self._last = label

    def __str__(self) -> str:
        if not self._counts:
            return "none"
        more = f" and others, of {self._others} records" if self._others else ""
        return f"{len(self._counts)}{more}, from {min(self._counts)} to {max(self._counts)}"

    def order(self) -> str:
        """Whether records are shuffled by their labels."""
        sizes = np.array([*self._counts.values(), *[1] * min(self._others, 1)])
        expected = expected_changes(sizes)
        if self._changes + 1 == len(self._counts) and not self._others:
            said = "sorted by label" if len(self._counts) > 1 else "all of one label"
        elif self._changes < SORTED * expected:
            said = "mostly sorted by label"
        else:
            said = (
                "partly sorted by label" if self._changes < PARTLY_SORTED * expected else "shuffled"
            )
        return (
            f"{said}: the label changes {self._changes} times, in a random order about "
            f"{expected:.0f} times"
        )

    def histogram(self) -> Iterator[tuple[str, str]]:
        """A line for each label, the smallest first."""
        yield from ((f"label {label}", str(self._counts[label])) for label in sorted(self._counts))


class Summary:
    """What is gathered record by record."""

    def __init__(self) -> None:
        self.entries = self._bytes = self._broken = self._unlike = 0
        self._stored: Counter[str] = Counter()
        self._shape: Optional[Shape] = None
        self._keys, self._labels = Keys(), Labels()

    def add(self, key: bytes, value: memoryview) -> None:
        """Look at the next record."""
        self.entries += 1
        self._bytes += len(key) + len(value)
        self._keys.add(key)
        try:
            fields = read_fields(value)
        except ValueError:
            self._broken += 1
            return
        self._labels.add(fields.label)
        self._stored[stored_as(fields)] += 1
        self._add_shape(fields)

    def _add_shape(self, fields: Fields) -> None:
        # Of image files the first one's alone: the others would have to be opened.
        if self._shape is None:
            self._shape = shape_of(fields)
        elif not fields.encoded:
            self._unlike += fields.shape != self._shape

    def lines(self) -> Iterator[tuple[str, str]]:
        """What was found, each with its name."""
        yield "records", str(self.entries)
        if self._broken:
            yield "no Datum", f"{self._broken}; verify tells which"
        yield "bytes", f"{self._bytes} of keys and values"
        yield "stored", ", ".join(f"{n} {kind}" for kind, n in self._stored.most_common()) or "none"
        unlike = f"; {self._unlike} records have others" if self._unlike else ""
        yield "shape", f"{as_text(self._shape)} (channels, height, width) of the first" + unlike
        yield "keys", str(self._keys)
        yield "labels", str(self._labels)
        if self._stored:
            yield "order", self._labels.order()
        yield from self._labels.histogram()


def describe(database: Database) -> Iterator[tuple[str, str]]:
    """The lines that tell of a database."""
    summary = Summary()
    for key, value in database.views():
        summary.add(bytes(key), value)
    yield "kind", database.backend
    yield "on disk", f"{database.size()} bytes"
    if database.backend == "lmdb":
        yield "map size", f"{databases.lmdb_sizes(database.path)[0]} bytes"
    yield from summary.lines()
