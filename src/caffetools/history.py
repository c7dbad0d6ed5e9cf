"""The training history: one row per iteration, kept as ``history.csv``.

Columns: ``iteration``; ``loss`` and ``learning_rate`` of the step that led to this
iteration (empty in row 0, to which no step led); ``test_loss`` and ``test_accuracy`` of
the solver's test net (empty where no test ran). Numbers carry nine digits, which is all
that Caffe's single precision holds.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Optional

import numpy as np

from caffetools.cli import ToolError
from caffetools.files import write_csv


class Row(NamedTuple):
    """One iteration; None where the table is empty."""

    iteration: int
    loss: Optional[float] = None
    learning_rate: Optional[float] = None
    test_loss: Optional[float] = None
    test_accuracy: Optional[float] = None


@dataclass(frozen=True)
class History:
    """The columns of the table, each (rows,); NaN where the table is empty."""

    iteration: np.ndarray
    loss: np.ndarray
    learning_rate: np.ndarray
    test_loss: np.ndarray
    test_accuracy: np.ndarray

    def tested(self) -> History:
        """The rows with a test accuracy."""
        return self._where(np.isfinite(self.test_accuracy))

    def stepped(self) -> History:
        """The rows that a training step led to."""
        return self._where(~np.isnan(self.learning_rate))

    def _where(self, mask: np.ndarray) -> History:
        return History(*(getattr(self, name)[mask] for name in Row._fields))


def history_of(rows: Iterable[Row]) -> History:
    """The columns of ``rows``."""
    columns = list(zip(*rows)) or [()] * len(Row._fields)
    iteration = np.array(columns[0], dtype=np.int64)
    return History(iteration, *(np.array(column, dtype=np.float64) for column in columns[1:]))


def write_history(path: Path, rows: Iterable[Row]) -> None:
    """Write the table, whole or not at all."""
    write_csv(path, Row._fields, map(_cells, rows))


def _cells(row: Row) -> list[Any]:
    return [row.iteration, *("" if x is None else format(x, ".9g") for x in row[1:])]


def read_rows(path: Path) -> list[Row]:
    """The rows of the table at ``path``.

    Raises :class:`ToolError` naming the line where the table is not as described above.
    """
    with path.open(newline="", encoding="utf-8") as stream:
        reader = csv.reader(stream)
        header = tuple(next(reader, ()))
        if header != Row._fields:
            raise ToolError(
                f"{path}: expected the columns {','.join(Row._fields)}, found "
                f"{','.join(header) or 'none'}; is this a training history?"
            )
        return [_row(path, reader.line_num, cells) for cells in reader]


def _row(path: Path, line: int, cells: list[str]) -> Row:
    try:
        iteration, *values = cells
        if len(values) != len(Row._fields) - 1:
            raise ValueError(f"{len(cells)} cells")
        return Row(int(iteration), *(float(value) if value else None for value in values))
    except ValueError as error:
        raise ToolError(
            f"{path}, line {line}: expected {len(Row._fields)} numbers or empty cells, found "
            f"{','.join(cells)!r} ({error}); train again to write it afresh"
        ) from error


def read_history(path: Path) -> History:
    """The columns of the table at ``path``; errors as :func:`read_rows`."""
    return history_of(read_rows(path))
