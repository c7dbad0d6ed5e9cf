"""``predictions.csv``: what a net took each entry of an LMDB for."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from caffetools.cli import ToolError


@dataclass(frozen=True)
class Prediction:
    """One row of ``predictions.csv``: ``index`` counts the LMDB's entries in key order."""

    index: int
    label: int
    predicted: int
    probability: float
    key: str = ""

    @property
    def is_right(self) -> bool:
        return self.label == self.predicted


def read_predictions(path: Path) -> list[Prediction]:
    """The rows of a ``predictions.csv``."""
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            return [
                Prediction(
                    int(row["index"]),
                    int(row["label"]),
                    int(row["predicted"]),
                    float(row["probability"]),
                    row["key"],
                )
                for row in csv.DictReader(stream)
            ]
    except (KeyError, TypeError, ValueError) as error:
        raise ToolError(
            f"{path}: expected the columns index,label,predicted,probability,key, all but "
            f"the last numbers ({error!r}); evaluate again to write it afresh"
        ) from error
