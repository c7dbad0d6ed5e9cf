"""Judges detections: VOC's and COCO's average precision, curves, and what the mistakes are.

The folder gets ``classes.csv`` and ``curves.csv``, ``false_positives.csv`` with the kind of each
among a class' first detections, and, of detections from a score on, ``judged.csv``, ``missed.csv``
and ``scores.csv``, in which the images stand from best to worst; and last ``metrics.json``.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from caffetools.cli import ToolError, run
from caffetools.detection import average_precision, detections, mistakes
from caffetools.detection import scenes as reading
from caffetools.detection.image_scores import image_scores
from caffetools.detection.judgement import Judgement
from caffetools.detection.mistakes import KINDS, SIZES
from caffetools.files import write_csv, write_json

CORNERS = ("x1", "y1", "x2", "y2")
JUDGED = (*detections.HEADER, "verdict")
MISSED = ("path", "class", "size", "relative_size", *CORNERS, "source")
CURVES = ("class", "recall", "precision", "score")
SCORES = ("path", "f1", "margin", "right", "wrong", "missed")
FALSE = ("class", "rank", "score", "kind", "path", *CORNERS)

log = logging.getLogger("caffetools.detection.evaluate")


def write_results(
    folder: Path, judgement: Judgement, facts: dict[str, Any], metric: str
) -> dict[str, Any]:
    """Write all files, and last ``metrics.json``, in which ``facts`` stand as they are.

    Returns what ``metrics.json`` holds.
    """
    rows = [judgement.row(name) for name in judgement.scenes.classes]
    # A folder that is written to again must not seem done before it is.
    (folder / "metrics.json").unlink(missing_ok=True)
    write_csv(folder / "classes.csv", list(rows[0]), (row.values() for row in rows))
    write_csv(folder / "curves.csv", CURVES, _curves(judgement))
    write_csv(folder / "false_positives.csv", FALSE, _false(judgement))
    write_csv(folder / "judged.csv", JUDGED, _judged(judgement))
    write_csv(folder / "missed.csv", MISSED, _missed(judgement))
    write_csv(folder / "scores.csv", SCORES, _scores(judgement))
    means = {
        name: average_precision.mean({row["class"]: row[name] for row in rows})
        for name in average_precision.METRICS
    }
    summary = {
        **facts,
        "metric": metric,
        "mAP": means[metric],
        **means,
        "coco": judgement.coco.numbers,
        "operating_point": judgement.point._asdict(),
        "without_objects": [row["class"] for row in rows if not row["objects"]],
        "missed_by_size": judgement.missed_by_size(),
        "classes": rows,
    }
    write_json(folder / "metrics.json", summary)
    return summary


def _curves(judgement: Judgement) -> Iterator[list[Any]]:
    for name in judgement.scenes.classes:
        drawn = judgement.curve(name)
        if drawn is not None:
            for values in zip(*drawn):
                yield [name, *map("{:.6f}".format, values)]


def _false(judgement: Judgement) -> Iterator[list[Any]]:
    for name, false in judgement.false.items():
        matches, found = judgement.matches[name], judgement.scenes.found[name]
        ranks = np.cumsum(matches.counted)
        for row, kind in zip(false.rows, false.kinds):
            place = matches.order[row]
            path = judgement.scenes.pictures[found.image[place]].path
            score = f"{matches.scores[row]:.6f}"
            yield [name, ranks[row], score, KINDS[kind], path, *_corners(found.corners[place])]


def _judged(judgement: Judgement) -> Iterator[list[Any]]:
    for name, matches in judgement.matches.items():
        found = judgement.scenes.found[name]
        verdicts = np.where(matches.ignored, "ignored", np.where(matches.right, "right", "wrong"))
        for row in np.flatnonzero(matches.scores >= judgement.point.score):
            place = matches.order[row]
            path = judgement.scenes.pictures[found.image[place]].path
            score = f"{matches.scores[row]:.6f}"
            yield [path, name, score, *_corners(found.corners[place]), verdicts[row]]


def _missed(judgement: Judgement) -> Iterator[list[Any]]:
    for name in judgement.scenes.classes:
        truth, size = judgement.scenes.truth[name], judgement.sizes(name)
        for place in np.flatnonzero(judgement.missed(name)):
            path = judgement.scenes.pictures[truth.image[place]].path
            names = [SIZES[one[place]] for one in size.values()]
            source = judgement.scenes.boxes[name][place].source
            yield [path, name, *names, *_corners(truth.corners[place]), source]


def _scores(judgement: Judgement) -> Iterator[list[Any]]:
    found = image_scores(judgement.scenes, judgement.matches, judgement.point.score)
    for number in found.order():
        counts = [found.right[number], found.wrong[number], found.missed[number]]
        merit = [f"{found.f1[number]:.6f}", f"{found.margin[number]:.6f}"]
        yield [judgement.scenes.pictures[number].path, *merit, *counts]


def _corners(corners: np.ndarray) -> list[str]:
    return list(map("{:.2f}".format, corners))


def main(arguments: Sequence[str]) -> None:
    """``python -m caffetools.detection.evaluate``"""
    parser = argparse.ArgumentParser(
        prog="python -m caffetools.detection.evaluate", description=__doc__
    )
    parser.add_argument("--manifest", type=Path, required=True, help="manifest.jsonl with boxes")
    parser.add_argument("--split", required=True, help="whose images were detected in, as test")
    parser.add_argument("--detections", type=Path, required=True, help="detections.csv to judge")
    parser.add_argument("--classes", type=Path, required=True, help="classes.txt")
    parser.add_argument("--output", type=Path, required=True, help="folder for the results")
    parser.add_argument(
        "--iou", type=float, default=0.5,
        help="overlap from which on an object is found (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--metric", choices=sorted(average_precision.METRICS), default="area",
        help="what mAP is: voc07, of 11 points, or area, as VOC since 2010 (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--score", type=float,
        help="from which on detections count among missed objects and images' scores "
        "(default: the one of the best F1)",
    )  # fmt: skip
    parser.add_argument(
        "--similar", type=Path,
        help="groups of similar classes, a line each, names between commas (default: all are)",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    if not 0 < options.iou <= 1:
        raise ToolError(f"--iou: expected a number above 0, at most 1, found {options.iou:g}")
    if options.score is not None and not np.isfinite(options.score):
        raise ToolError(f"--score: expected a number, found {options.score:g}")
    scenes = reading.read(options.manifest, options.split, options.detections, options.classes)
    groups = None
    if options.similar is not None:
        groups = mistakes.read_groups(options.similar, scenes.classes)
    judgement = Judgement.of(scenes, options.iou, options.score, groups)
    facts = {"split": options.split, "images": len(scenes.pictures), "iou": options.iou}
    told = write_results(options.output, judgement, facts, options.metric)
    if told["without_objects"]:
        log.warning("no objects, left out of the mean: %s", ", ".join(told["without_objects"]))
    found = told["mAP"]
    log.info("mAP (%s) %s", options.metric, "unknown" if found is None else f"{found:.4f}")


if __name__ == "__main__":
    run(main)
