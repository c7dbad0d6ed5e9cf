"""One HTML page on a run of the pipeline: data, comparison of experiments, each experiment.

The page opens offline: figures and style are inside it. Every number and every claim in
its text is computed from the files given; see :mod:`caffetools.claims` for the claims.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from caffetools import pages
from caffetools.claims import describe, number
from caffetools.cli import ToolError, run
from caffetools.comparison import Estimate, Reach, arm_of, compare_all, estimate, reach_table
from caffetools.files import write_text
from caffetools.history import History, read_history
from caffetools.pages import data_url
from caffetools.patch_diff import Hunk, hunks, kept_statistics
from caffetools.plots.comparison import parse_run
from caffetools.plots.style import COLOURS
from caffetools.significance import Difference, read_differences

_TEMPLATES = Path(__file__).with_name("templates")
_MOST_DROPPED = 100
_ALL_SEEDS = "all"


@dataclass(frozen=True)
class Run:
    """What one training run, of one seed, left behind."""

    seed: int
    history: History
    evaluation: Mapping[str, Any]
    patch: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Figure:
    """A PNG as ``data`` URL with its caption."""

    caption: str
    url: str


@dataclass(frozen=True)
class Deployed:
    """What the parity test said of a bundle; see :mod:`caffetools.bundle.parity`."""

    experiment: str
    seed: int
    parity: Mapping[str, Any]


@dataclass(frozen=True)
class Experiment:
    """An experiment as the page shows it: figures over its seeds, pictures, what was patched."""

    name: str
    colour: str
    seeds: Sequence[int]
    entries: int
    accuracy: Estimate
    errors: Estimate
    macro_f1: Estimate
    loss: Estimate
    top_5: Optional[Estimate]
    ten_crop: Optional[Estimate]
    calibration_error: Estimate
    intervals: Mapping[str, Any]
    per_class: Sequence[Mapping[str, Any]]
    figures: Sequence[Figure]
    findings: Sequence[Mapping[str, str]]
    changes: int
    patch: Sequence[Hunk]
    kept_statistics: Sequence[str]


# --- reading ----------------------------------------------------------------------------


def read_json(path: Path) -> Any:
    """The value in a JSON file; :class:`ToolError` naming it where it is broken."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ToolError(f"{path}: expected JSON ({error}); make it again") from error


def read_runs(texts: Sequence[str]) -> dict[str, list[Run]]:
    """The runs of ``EXPERIMENT:SEED:DIR`` entries, by experiment in the order first named."""
    runs: dict[str, list[Run]] = {}
    for text in texts:
        experiment, seed, folder = parse_run(text)
        one = Run(
            seed,
            read_history(folder / "history.csv"),
            read_json(folder / "evaluation.json"),
            read_json(folder / "patch.json"),
        )
        runs.setdefault(experiment, []).append(one)
    return runs


def read_dropped(manifest: Path) -> list[dict[str, str]]:
    """The rows of ``manifest.csv`` whose image was left out, with the reason in ``dropped``."""
    with manifest.open(newline="", encoding="utf-8") as stream:
        return [row for row in csv.DictReader(stream) if row["dropped"]]


def kinds() -> list[str]:
    """The kinds of figures that there are captions for."""
    return sorted(path.name.split(".")[1] for path in _TEMPLATES.glob("report.*.rst"))


def caption(kind: str) -> str:
    """What a reader sees in a figure of this kind; Snakemake's report has the same words."""
    return " ".join((_TEMPLATES / f"report.{kind}.rst").read_text(encoding="utf-8").split())


def read_figures(texts: Sequence[str]) -> dict[str, list[Figure]]:
    """The figures of ``EXPERIMENT:SEED:KIND:PNG`` entries, by experiment."""
    figures: dict[str, list[Figure]] = {}
    for text in texts:
        parts = text.split(":", 3)
        if len(parts) != 4 or parts[2] not in kinds():
            raise ToolError(
                f"--figure: expected EXPERIMENT:SEED:KIND:PNG with SEED a number or "
                f"{_ALL_SEEDS!r} and KIND one of {', '.join(kinds())}, found {text!r}"
            )
        experiment, seed, kind, path = parts
        seeds = "All seeds added up." if seed == _ALL_SEEDS else f"Seed {seed}."
        figures.setdefault(experiment, []).append(
            Figure(f"{caption(kind)} {seeds}", embedded(Path(path)))
        )
    return figures


def read_parity(texts: Sequence[str]) -> list[Deployed]:
    """What the parity tests of ``EXPERIMENT:SEED:FILE`` entries said, in their order."""
    return [
        Deployed(experiment, seed, read_json(path))
        for experiment, seed, path in map(parse_run, texts)
    ]


def read_findings(texts: Sequence[str]) -> dict[str, list[Mapping[str, str]]]:
    """What was found before training, of ``EXPERIMENT:JSON`` entries, by experiment."""
    findings = {}
    for text in texts:
        experiment, colon, path = text.partition(":")
        if not colon:
            raise ToolError(f"--preflight: expected EXPERIMENT:JSON, found {text!r}")
        findings[experiment] = read_json(Path(path))["findings"]
    return findings


def embedded(path: Path) -> str:
    """The PNG as a ``data`` URL."""
    return data_url("image/png", path.read_bytes())


# --- computing --------------------------------------------------------------------------


def class_means(name: str, evaluations: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Per-class figures as means over the seeds."""
    tables = [evaluation["per_class"] for evaluation in evaluations]
    if any(
        [row["class"] for row in table] != [row["class"] for row in tables[0]] for table in tables
    ):
        raise ToolError(f"experiment {name!r}: its seeds were evaluated with different classes")
    return [
        {
            "class": rows[0]["class"],
            "support": rows[0]["support"],
            **{key: estimate([row[key] for row in rows]) for key in ("precision", "recall", "f1")},
        }
        for rows in zip(*tables)
    ]


def experiment_of(
    name: str,
    colour: str,
    runs: Sequence[Run],
    figures: Sequence[Figure],
    findings: Sequence[Mapping[str, str]],
) -> Experiment:
    """What the page shows of one experiment."""
    evaluations = [run.evaluation for run in runs]

    def over_seeds(key: str) -> Estimate:
        return estimate([evaluation[key] for evaluation in evaluations])

    return Experiment(
        name=name,
        colour=colour,
        seeds=[run.seed for run in runs],
        entries=evaluations[0]["entries"],
        accuracy=over_seeds("accuracy"),
        errors=over_seeds("errors"),
        macro_f1=over_seeds("macro_f1"),
        loss=over_seeds("mean_loss"),
        top_5=None if evaluations[0]["top_5_accuracy"] is None else over_seeds("top_5_accuracy"),
        ten_crop=(
            estimate([evaluation["ten_crop"]["accuracy"] for evaluation in evaluations])
            if evaluations[0]["ten_crop"]
            else None
        ),
        calibration_error=estimate(
            [evaluation["calibration"]["expected_error"] for evaluation in evaluations]
        ),
        intervals=evaluations[0]["intervals"],
        per_class=class_means(name, evaluations),
        figures=figures,
        findings=findings,
        changes=len(runs[0].patch),
        patch=hunks(runs[0].patch),
        kept_statistics=kept_statistics(runs[0].patch),
    )


def reach_text(reach: Reach) -> str:
    """A cell of the table of iterations: ``14.0 ± 3.4``, or how many seeds got there."""
    if reach.iterations is not None:
        return number(reach.iterations, digits=0 if reach.seeds == 1 else 1)
    return f"{reach.reached} of {reach.seeds} seeds" if reach.reached else "not reached"


def interval_text(ends: Optional[Sequence[float]]) -> str:
    """``0.781 to 0.853``, or a dash where there is no such figure."""
    return "-" if ends is None else f"{ends[0]:.3f} to {ends[1]:.3f}"


def p_text(p: float) -> str:
    """``0.013``, ``< 0.001``, or a dash where there is none."""
    if math.isnan(p):
        return "-"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def context(
    runs: Mapping[str, Sequence[Run]],
    figures: Mapping[str, Sequence[Figure]],
    findings: Mapping[str, Sequence[Mapping[str, str]]],
    accuracies: Sequence[float],
    differences: Sequence[Difference],
) -> dict[str, Any]:
    """All that the template needs of the experiments."""
    for option, named in (("--figure", figures), ("--preflight", findings)):
        unknown = sorted(set(named) - set(runs))
        if unknown:
            raise ToolError(
                f"{option} names experiment {unknown[0]!r}, of which no --run was given"
            )
    histories = {name: [run.history for run in group] for name, group in runs.items()}
    arms = [arm_of(name, group) for name, group in histories.items()]
    experiments = [
        experiment_of(
            name,
            COLOURS[i % len(COLOURS)],
            group,
            figures.get(name, []),
            findings.get(name, []),
        )
        for i, (name, group) in enumerate(runs.items())
    ]
    return {
        "experiments": experiments,
        "has_top_5": any(each.top_5 for each in experiments),
        "has_ten_crop": any(each.ten_crop for each in experiments),
        "findings": [describe(comparison) for comparison in compare_all(arms)],
        "accuracies": accuracies,
        "reach": reach_table(histories, accuracies),
        "differences": differences,
        "last_iteration": max(int(arm.iterations[-1]) for arm in arms),
    }


def render(values: Mapping[str, Any]) -> str:
    """The page."""
    environment = pages.environment(_TEMPLATES)
    environment.filters["number"] = number
    environment.filters["reach"] = reach_text
    environment.filters["interval"] = interval_text
    environment.filters["p_value"] = p_text
    return environment.get_template("report.html").render(values)


# --- command ----------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m caffetools.report", description=__doc__)
    add = parser.add_argument
    add("--title", required=True, help="heading of the page")
    add("--dataset-summary", type=Path, required=True, help="summary.json of the data set")
    add("--manifest", type=Path, required=True, help="manifest.csv of the data set")
    add(
        "--run",
        nargs="+",
        action="extend",
        required=True,
        metavar="EXPERIMENT:SEED:DIR",
        help="a run's folder with history.csv, evaluation.json and patch.json; one for each run",
    )
    add(
        "--preflight",
        nargs="+",
        action="extend",
        default=[],
        metavar="EXPERIMENT:JSON",
        help="what caffetools.preflight found of an experiment",
    )
    add("--significance", type=Path, help="CSV from caffetools.significance")
    add(
        "--parity",
        nargs="+",
        action="extend",
        default=[],
        metavar="EXPERIMENT:SEED:FILE",
        help="parity.json of the bundle that was made of a run",
    )
    add("--comparison", type=Path, required=True, help="PNG from caffetools.plots.comparison")
    add(
        "--figure",
        nargs="+",
        action="extend",
        default=[],
        metavar="EXPERIMENT:SEED:KIND:PNG",
        help=f"a figure; SEED is a number or {_ALL_SEEDS!r}, KIND one of {', '.join(kinds())}",
    )
    add(
        "--accuracies",
        type=float,
        nargs="+",
        default=[0.5, 0.6, 0.7, 0.8],
        help="show the iterations needed to reach these (default: 0.5 0.6 0.7 0.8)",
    )
    add("--monitored", default="val", help="split that histories were tested on (default: val)")
    add("--output", type=Path, required=True, help="HTML file to write")
    return parser


def main(arguments: Sequence[str]) -> Optional[int]:
    """``python -m caffetools.report``"""
    options = _parser().parse_args(arguments)
    dropped = read_dropped(options.manifest)
    figures = read_figures(options.figure)
    values = {
        "title": options.title,
        "dataset": read_json(options.dataset_summary),
        "monitored": options.monitored,
        "dropped": dropped[:_MOST_DROPPED],
        "dropped_more": max(0, len(dropped) - _MOST_DROPPED),
        "comparison": embedded(options.comparison),
        "deployed": read_parity(options.parity),
        **context(
            read_runs(options.run),
            figures,
            read_findings(options.preflight),
            options.accuracies,
            read_differences(options.significance) if options.significance else [],
        ),
    }
    write_text(options.output, render(values))
    return None


if __name__ == "__main__":
    run(main)
