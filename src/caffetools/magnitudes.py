"""How large each layer's gradient and update were in training, kept as ``gradients.csv``.

Columns: ``iteration``, which the step led to; ``layer``; ``gradient``, ``update`` and ``weights``,
each the root of the sum of squares over all weights of the layer: of the gradient before the
update, of what the update subtracted, and of the weights after it. Numbers carry nine digits.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from caffetools import nets
from caffetools.cli import ToolError
from caffetools.files import write_csv

_ROWS = 100  # recorded in a training, so that it costs little


class Magnitude(NamedTuple):
    """One layer at one iteration."""

    iteration: int
    layer: str
    gradient: float
    update: float
    weights: float


def interval(max_iter: int) -> int:
    """Iterations from one record to the next: a power of two, for 100 to 200 in a training.

    So those of a longer training are among those of a shorter one, which it may go on from.
    """
    return 1 << max(0, (max_iter // _ROWS).bit_length() - 1)


class Recorder:
    """Records the magnitudes of a solver that is trained a step at a time.

    Nothing that it does changes the training's numbers: it reads the weights and their diffs.

    Args:
        solver: one of pycaffe's.
        max_iter: tells how often to record, see :func:`interval`.
    """

    def __init__(self, solver: Any, max_iter: int) -> None:
        self.rows: list[Magnitude] = []
        # Not the solver: it holds this object by the callback, and would never be let go.
        self._net = solver.net
        self._interval = interval(max_iter)
        self._is_due = False
        self._gradients: dict[str, float] = {}
        # Our runtime need not keep blobs for this callback, which looks at parameters alone.
        add = getattr(solver, "add_unseeing_callback", solver.add_callback)
        add(lambda: None, self._note)

    @contextmanager
    def recording(self, iteration: int) -> Iterator[None]:
        """Record the step made within, which leads to ``iteration``, if it is due."""
        self._is_due = iteration % self._interval == 0
        yield
        if not self._is_due:
            return
        updates, weights = nets.update_magnitudes(self._net), nets.weight_magnitudes(self._net)
        self.rows += [
            Magnitude(iteration, layer, gradient, updates[layer], weights[layer])
            for layer, gradient in self._gradients.items()
        ]

    def _note(self) -> None:
        """Called after backward, before the update, which takes the gradients' place."""
        if self._is_due:
            self._gradients = nets.gradient_magnitudes(self._net)

    def checked(self, rows: Iterable[Magnitude], iteration: int) -> list[Magnitude]:
        """Those of ``rows`` that are due up to ``iteration``, from which a training can go on.

        Raises :class:`ToolError` where what was due is not there, row by row.
        """
        kept = [
            row
            for row in rows
            if row.iteration <= iteration and row.iteration % self._interval == 0
        ]
        due = range(self._interval, iteration + 1, self._interval)
        expected = [(step, layer) for step in due for layer in self._net.params]
        if [(row.iteration, row.layer) for row in kept] != expected:
            raise ToolError("the magnitudes are not those of every layer at every interval")
        return kept


def write_magnitudes(path: Path, rows: Iterable[Magnitude]) -> None:
    """Write the table, whole or not at all."""
    cells = ([*row[:2], *(format(value, ".9g") for value in row[2:])] for row in rows)
    write_csv(path, Magnitude._fields, cells)


def read_magnitudes(path: Path) -> list[Magnitude]:
    """The rows of the table at ``path``.

    Raises :class:`ToolError` naming the line where the table is not as described above.
    """
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            reader = csv.reader(stream)
            header = tuple(next(reader, ()))
            if header != Magnitude._fields:
                raise ToolError(
                    f"{path}: expected the columns {','.join(Magnitude._fields)}, found "
                    f"{','.join(header) or 'none'}; is this a gradients.csv?"
                )
            return [_row(path, reader.line_num, cells) for cells in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ToolError(
            f"{path}: cannot be read as a table ({error}); is this a gradients.csv?"
        ) from error


def _row(path: Path, line: int, cells: list[str]) -> Magnitude:
    try:
        iteration, layer, gradient, update, weights = cells
        return Magnitude(int(iteration), layer, float(gradient), float(update), float(weights))
    except ValueError as error:
        raise ToolError(
            f"{path}, line {line}: expected an iteration, a layer and three numbers, found "
            f"{','.join(cells)!r} ({error}); train again to write it afresh"
        ) from error
