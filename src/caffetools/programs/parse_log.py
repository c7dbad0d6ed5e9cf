"""``parse_log``: a training log becomes two tables, of the training and of the tests.

``OUTPUT_DIR/LOGFILE.train`` and ``.test`` are CSV files with a row an iteration that was
displayed or tested: ``NumIters``, ``Seconds`` since the line "Solving", ``LearningRate``, and a
column an output of the net.

Source: ``tools/extra/parse_log.py``, whose tables have the same columns.
"""

from __future__ import annotations

import argparse
import csv
import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Optional

from caffetools.cli import ToolError
from caffetools.files import whole_file
from caffetools.programs.program import LOG, Parser, require_file, run

_NUMBER = r"[-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|nan|inf)"
_HEAD = re.compile(r"[IWEF](\d\d)(\d\d) (\d\d:\d\d:\d\d\.\d{6})")
_ITERATION = re.compile(r"Iteration (\d+)\b")
_RATE = re.compile(rf"lr = ({_NUMBER})")
_OUTPUT = re.compile(rf"(Train|Test) net output #\d+: (\S+) = ({_NUMBER})")

Rows = dict[int, dict[str, float]]


def parser() -> Parser:
    """What the program takes."""
    parser = Parser(
        "parse_log", "Write a training log as tables: OUTPUT_DIR/LOGFILE.train and .test (CSV)."
    )
    parser.add_argument("logfile", type=Path, help="a log of caffe train")
    parser.add_argument("output", type=Path, help="the folder of the tables")
    parser.flag("delimiter", "between columns", default=",")
    return parser


def main() -> None:
    """The program ``parse_log LOGFILE OUTPUT_DIR``."""
    run(parser(), parse)


def parse(options: argparse.Namespace) -> None:
    """Write the tables."""
    require_file(options.logfile, "log")
    if len(options.delimiter) != 1:
        raise ToolError(f"-delimiter {options.delimiter!r}: expected one character")
    with options.logfile.open(encoding="utf-8", errors="replace") as stream:
        tables = read_log(stream)
    if not any(tables.values()):
        raise ToolError(f"{options.logfile}: expected the log of a training, found no outputs")
    options.output.mkdir(parents=True, exist_ok=True)
    for kind, rows in tables.items():
        path = options.output / f"{options.logfile.name}.{kind.lower()}"
        columns = list(dict.fromkeys(name for row in rows.values() for name in row))
        with whole_file(path) as partial, partial.open("w", encoding="utf-8", newline="") as table:
            writer = csv.DictWriter(table, columns, delimiter=options.delimiter)
            writer.writeheader()
            writer.writerows(rows.values())
        LOG.info("Wrote %s", path)


def read_log(lines: Iterable[str]) -> dict[str, Rows]:
    """Rows of ``Train`` and ``Test``, by iteration; ``Seconds`` count from the line "Solving"."""
    tables: dict[str, Rows] = {"Train": {}, "Test": {}}
    clock = _Clock()
    start, iteration, rate = None, -1, float("nan")
    for line in lines:
        clock.read(line)
        if start is None and "] Solving " in line:
            start = clock.now
        if found := _ITERATION.search(line):
            iteration = int(found[1])
        if found := _RATE.search(line):
            rate = float(found[1])
            # It is told after the outputs of its iteration.
            for rows in tables.values():
                if iteration in rows:
                    rows[iteration]["LearningRate"] = rate
        if (output := _OUTPUT.search(line)) and start is not None and clock.now is not None:
            rows = tables[output[1]]
            seconds = (clock.now - start).total_seconds()
            new = {"NumIters": iteration, "Seconds": seconds, "LearningRate": rate}
            rows.setdefault(iteration, new)[output[2]] = float(output[3])
    return tables


class _Clock:
    """The time of the last line that had one; glog's lines leave out the year."""

    def __init__(self) -> None:
        self.now: Optional[datetime] = None
        self._years = timedelta()

    def read(self, line: str) -> None:
        head = _HEAD.match(line)
        if head is None:
            return
        text = "2000{}{} {}".format(*head.groups())
        found = datetime.strptime(text, "%Y%m%d %H:%M:%S.%f") + self._years
        if self.now is not None and found < self.now - timedelta(days=180):
            self._years += timedelta(days=366)
            found += timedelta(days=366)
        self.now = found
