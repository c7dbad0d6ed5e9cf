"""One HTML page on a run of the task detection: data, comparison, and each experiment's figures.

The page opens offline. Every number in it is computed from the files given.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

import numpy as np

from caffetools import pages
from caffetools.cli import ToolError, run
from caffetools.detection.plots.metrics import read_metrics
from caffetools.files import write_text
from caffetools.plots.comparison import parse_run

_TEMPLATES = Path(__file__).with_name("templates")
CAPTIONS = {
    "losses": "The four losses by iteration: whether an anchor is an object, how far it is from "
    "it, what a region is, and how far that is.",
    "precision_recall": "Precision over recall of each class.",
    "false_positives": "Of each class' first detections, as many as it has objects, which are "
    "false, and why.",
    "missed": "Objects that were missed, by size.",
    "gallery": "The best and the worst images: found (green), false (red), missed (dashed).",
}


@dataclass(frozen=True)
class Mean:
    """The mean over the seeds, and the standard deviation where there are several."""

    value: Optional[float]
    deviation: Optional[float]

    @classmethod
    def of(cls, values: Sequence[Optional[float]]) -> Mean:
        known = [value for value in values if value is not None]
        if not known or len(known) < len(values):
            return cls(None, None)
        deviation = float(np.std(known, ddof=1)) if len(known) > 1 else None
        return cls(float(np.mean(known)), deviation)

    def __str__(self) -> str:
        if self.value is None:
            return "unknown"
        more = "" if self.deviation is None else f" ± {self.deviation:.3f}"
        return f"{self.value:.3f}{more}"


@dataclass(frozen=True)
class Experiment:
    """One experiment as the page shows it."""

    name: str
    seeds: Sequence[int]
    voc07: Mean
    area: Mean
    coco: Mean
    classes: Sequence[tuple[str, int, Mean]]
    figures: Sequence[tuple[str, str]]


def read_experiments(runs: Sequence[str], figures: Sequence[str]) -> list[Experiment]:
    """The experiments of ``EXPERIMENT:SEED:FOLDER`` entries, in the order first named."""
    folders: dict[str, list[tuple[int, Path]]] = {}
    for text in runs:
        name, seed, folder = parse_run(text)
        folders.setdefault(name, []).append((seed, folder))
    return [_experiment(name, seeds, figures) for name, seeds in folders.items()]


def _experiment(name: str, seeds: Sequence[tuple[int, Path]], figures: Sequence[str]) -> Experiment:
    found = [read_metrics(folder / "evaluation" / "metrics.json") for _, folder in seeds]
    rows = [{row["class"]: row for row in metrics["classes"]} for metrics in found]
    return Experiment(
        name,
        [seed for seed, _ in seeds],
        Mean.of([metrics["voc07"] for metrics in found]),
        Mean.of([metrics["area"] for metrics in found]),
        Mean.of([metrics["coco"]["AP"] for metrics in found]),
        [
            (label, first["objects"], Mean.of([row[label][metric] for row in rows]))
            for metric in (found[0]["metric"],)
            for label, first in rows[0].items()
        ],
        [
            (CAPTIONS[kind], pages.data_url("image/png", Path(path).read_bytes()))
            for kind, path in _figures_of(name, figures)
        ],
    )


def _figures_of(name: str, figures: Sequence[str]) -> list[tuple[str, str]]:
    parted = [text.split(":", 2) for text in figures]
    for text, parts in zip(figures, parted):
        if len(parts) != 3 or parts[1] not in CAPTIONS:
            raise ToolError(
                f"--figure {text}: expected EXPERIMENT:KIND:PATH, of the kinds "
                f"{', '.join(CAPTIONS)}"
            )
    return [(kind, path) for experiment, kind, path in parted if experiment == name]


def page(title: str, summary: dict[str, Any], experiments: Sequence[Experiment]) -> str:
    """The page's HTML."""
    best = max(
        experiments,
        key=lambda one: -math.inf if one.area.value is None else one.area.value,
    )
    template = pages.environment(_TEMPLATES).get_template("report.html")
    return str(template.render(title=title, data=summary, experiments=experiments, best=best))


def _read_summary(path: Path) -> dict[str, Any]:
    """What ``python -m caffetools.detection.dataset`` wrote last."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ToolError(f"{path}: expected JSON ({error}); make it again") from error
    if not isinstance(found, dict) or not {"asked", "boxes", "images"} <= set(found):
        raise ToolError(
            f"{path}: expected the summary.json of caffetools.detection.dataset, found another "
            "file; make it again"
        )
    return found


def main(arguments: Sequence[str]) -> None:
    """``python -m caffetools.detection.report``"""
    parser = argparse.ArgumentParser(
        prog="python -m caffetools.detection.report", description=__doc__
    )
    parser.add_argument("--title", required=True)
    parser.add_argument("--summary", type=Path, required=True, help="the data set's summary.json")
    parser.add_argument("--run", nargs="+", required=True, metavar="EXPERIMENT:SEED:FOLDER")
    parser.add_argument("--figure", nargs="*", default=[], metavar="EXPERIMENT:KIND:PATH")
    parser.add_argument("--output", type=Path, required=True, help="the page to write")
    options = parser.parse_args(arguments)
    summary = _read_summary(options.summary)
    experiments = read_experiments(options.run, options.figure)
    write_text(options.output, page(options.title, summary, experiments))


if __name__ == "__main__":
    run(main)
