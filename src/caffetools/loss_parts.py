"""What each of a net's losses was in training, kept as ``losses.csv``.

Columns: ``iteration``, which the step led to, and one for each top with a loss weight, by its
name: its value times that weight. So a row's sum is the loss in ``history.csv``. Where there is an
``iter_size`` both are those of a step's last forward. Numbers carry nine digits.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from caffetools.cli import ToolError
from caffetools.files import write_csv


class Parts(NamedTuple):
    """The losses of one step, in the order of the net's."""

    iteration: int
    values: tuple[float, ...]


def names_of(net: Any) -> list[str]:
    """The tops with a loss weight, in forward order."""
    return [name for name, weight in net.blob_loss_weights.items() if weight]


def parts_of(net: Any, iteration: int) -> Parts:
    """The losses as of the last forward, which led to ``iteration``."""
    weights = net.blob_loss_weights
    values = (float(weights[name] * net.blobs[name].data.sum()) for name in names_of(net))
    return Parts(iteration, tuple(values))


def write_losses(path: Path, names: Iterable[str], rows: Iterable[Parts]) -> None:
    """Write the table, whole or not at all."""
    cells = ([row.iteration, *(format(value, ".9g") for value in row.values)] for row in rows)
    write_csv(path, ["iteration", *names], cells)


def read_losses(path: Path) -> tuple[list[str], list[Parts]]:
    """The names of the losses, and the rows.

    Raises :class:`ToolError` naming the line where the table is not as described above.
    """
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            reader = csv.reader(stream)
            first, *names = next(reader, [""])
            if first != "iteration" or not names:
                raise ToolError(
                    f"{path}: expected the column iteration and one for each loss, found "
                    f"{','.join([first, *names]) or 'none'}; is this a losses.csv?"
                )
            return names, [_row(path, reader.line_num, cells, len(names)) for cells in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ToolError(
            f"{path}: cannot be read as a table ({error}); is this a losses.csv?"
        ) from error


def _row(path: Path, line: int, cells: list[str], count: int) -> Parts:
    try:
        iteration, *values = cells
        if len(values) != count:
            raise ValueError(f"{len(cells)} cells")
        return Parts(int(iteration), tuple(map(float, values)))
    except ValueError as error:
        raise ToolError(
            f"{path}, line {line}: expected an iteration and {count} numbers, found "
            f"{','.join(cells)!r} ({error}); train again to write it afresh"
        ) from error
