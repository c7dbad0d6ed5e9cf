"""The HTML report: whole, offline, escaped, and no bolder than its data."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
from html_page import Page

from caffetools import metrics, report, significance
from caffetools.bundle import parity
from caffetools.cli import ToolError
from caffetools.evaluate import write_results
from caffetools.history import Row, write_history
from caffetools.plots import comparison, confusion
from caffetools.scoring import Outcome

CLASSES = ["ant", "<b>&"]
FAST, SLOW = [0.1, 0.7, 0.85, 0.9], [0.1, 0.3, 0.5, 0.9]
PATCH = [
    {"file": "train_val.prototxt", "layer": "ip", "phase": "TEST"}
    | {"field": "name", "before": None, "after": "ip_<i>"},
    {"file": "solver.prototxt", "layer": None, "phase": None}
    | {"field": "base_lr", "before": 0.01, "after": 0.001},
]


class Results:
    """A small data set and runs of it, as the pipeline leaves them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.runs: list[str] = []
        self.figures: list[str] = []
        self.more: list[str] = []
        counts = {split: dict.fromkeys(CLASSES, 6) for split in ("train", "val", "test")}
        summary = {
            "asked": {"train": "6", "val": "6", "test": "6"},
            "classes": CLASSES,
            "counts": counts,
            "dropped": 1,
            "duplicates": {"across_splits": 0, "of_two_classes": 0},
            "fold": 0,
            "folds": 0,
            "given": [],
            "groups": 0,
            "images": 36,
            "seed": 3,
            "totals": dict.fromkeys(counts, 12),
            "unused": 0,
        }
        (folder / "summary.json").write_text(json.dumps(summary))
        with (folder / "manifest.csv").open("w", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(["path", "label", "class", "split", "sha256", "bytes", "dropped"])
            writer.writerow(["ant/good.png", 0, "ant", "train", "ab", 100, ""])
            writer.writerow(["<b>&/bad<i>.png", 1, "<b>&", "", "cd", 0, "is empty"])

    def add(self, experiment: str, accuracy: list[float], seeds: int = 5) -> None:
        for seed in range(1, seeds + 1):
            folder = self.folder / experiment / f"seed{seed}"
            shift = 0.01 * (seed - (seeds + 1) / 2)
            rows = [Row(10 * i, 1.0, 0.1, 1.0, a + shift) for i, a in enumerate(accuracy)]
            write_history(folder / "history.csv", rows)
            labels = np.arange(12) % 2
            scores = np.eye(2)[labels ^ (np.arange(12) < seed)]
            outcome = Outcome(scores, metrics.log_softmax(scores), labels)
            write_results(folder, outcome, CLASSES, [f"{i:08d}" for i in range(12)], resamples=50)
            (folder / "patch.json").write_text(json.dumps(PATCH))
            self.runs.append(f"{experiment}:{seed}:{folder}")
        picture = self.folder / experiment / "confusion.png"
        confusion.main(["--confusion", str(folder / "confusion.csv"), "--output", str(picture)])
        self.figures.append(f"{experiment}:1:confusion:{picture}")

    def arguments(self) -> list[str]:
        picture = self.folder / "comparison.png"
        histories = [f"{run}/history.csv" for run in self.runs]
        comparison.main(["--run", *histories, "--output", str(picture)])
        return [
            *("--title", "Ants & <others>", "--comparison", str(picture)),
            *("--dataset-summary", str(self.folder / "summary.json")),
            *("--manifest", str(self.folder / "manifest.csv")),
            *("--run", *self.runs, "--figure", *self.figures, *self.more),
            *("--output", str(self.folder / "report.html")),
        ]

    def compare(self) -> None:
        table = str(self.folder / "significance.csv")
        significance.main(["--run", *self.runs, "--output", table])
        self.more += ["--significance", table]

    def html(self) -> str:
        report.main(self.arguments())
        return (self.folder / "report.html").read_text(encoding="utf-8")


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return Results(tmp_path)


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page on a fast and a slow experiment."""
    results = Results(tmp_path_factory.mktemp("compared"))
    results.add("finetune", FAST)
    results.add("scratch", SLOW)
    html = results.html()
    assert html == results.html()
    assert str(results.folder) not in html
    return html


def test_page_is_well_formed_and_needs_nothing_else(compared: str) -> None:
    page = Page(compared)
    inner = {f"#{name}" for name in page.ids}
    outside = [a for a in page.addresses if not a.startswith("data:") and a not in inner]
    assert outside == []
    assert "http" not in re.sub(r"base64,[^\"]*", "", compared)
    assert "url(" not in compared
    assert "script" not in page.tags
    assert page.tags.count("img") == 3


def test_names_are_escaped(compared: str) -> None:
    page = Page(compared)
    assert "i" not in page.tags
    assert "others" not in page.tags
    for name in ("<b>&", "<b>&/bad<i>.png", "Ants & <others>", "ip_<i>"):
        assert name in page.text


def test_page_tells_the_data(compared: str) -> None:
    text = Page(compared).text
    assert "36 images: 12 train, 12 val, 12 test" in text
    assert "1 unreadable image left out" in text
    assert "<b>&/bad<i>.png is empty" in text
    assert "ant/good.png" not in text


def test_page_tells_accuracy_with_its_interval(compared: str) -> None:
    # Seed k has k of 12 wrong, so the mean is 3 errors with deviation sqrt(2.5).
    half = 2.776445 * np.sqrt(2.5 / 5)
    text = Page(compared).text
    assert f"{1 - 3 / 12:.3f} ± {half / 12:.3f} finetune: test accuracy, 5 seeds" in text
    assert f"3.0 ± {half:.1f} of 12" in text


def test_page_tells_what_other_images_would_change(results: Results) -> None:
    results.add("alone", FAST, seeds=1)
    evaluation = json.loads((results.folder / "alone/seed1/evaluation.json").read_text())
    low, high = evaluation["intervals"]["accuracy"]
    assert low < evaluation["accuracy"] < high
    text = Page(results.html()).text
    assert f"alone {low:.3f} to {high:.3f}" in text
    assert "ten crops" not in text
    assert "top-5" not in text  # there are two classes


def test_page_tells_top_5_and_ten_crops_where_there_are_any(results: Results) -> None:
    results.add("alone", FAST, seeds=1)
    path = results.folder / "alone" / "seed1" / "evaluation.json"
    evaluation = json.loads(path.read_text())
    evaluation["top_5_accuracy"], evaluation["intervals"]["top_5_accuracy"] = 0.987, [0.9, 0.99]
    evaluation["ten_crop"] = {"accuracy": 0.923}
    path.write_text(json.dumps(evaluation))
    text = Page(results.html()).text
    assert "accuracy top-5 accuracy, ten crops errors" in text
    assert "0.917 0.987 0.923 1.0 of 12" in text
    assert "0.900 to 0.990" in text


def test_page_tells_what_was_found_before_training(results: Results) -> None:
    results.add("alone", FAST, seeds=1)
    rows = [
        {
            "level": "warning",
            "check": "mean",
            "place": "layer '<data>'",
            "found": "odd",
            "fix": "x",
        },
        {"level": "note", "check": "disk", "place": "disk", "found": "2 snapshots", "fix": ""},
    ]
    path = results.folder / "preflight.json"
    path.write_text(json.dumps({"findings": rows, "histograms": {}}))
    results.more = ["--preflight", f"alone:{path}"]
    text = Page(results.html()).text
    assert "found before training (1 warning)" in text
    assert "warning layer '<data>': odd Fix: x." in text
    assert "note disk: 2 snapshots" in text
    results.more = ["--preflight", f"other:{path}"]
    with pytest.raises(ToolError, match="--preflight names experiment 'other'"):
        results.html()


def test_page_tells_which_experiments_differ(results: Results) -> None:
    results.add("finetune", FAST)
    results.add("scratch", SLOW, seeds=1)
    results.compare()
    text = Page(results.html()).text
    assert "finetune less scratch -0.167 1.000 McNemar" in text


def test_page_tells_what_was_patched(compared: str) -> None:
    text = Page(compared).text
    expected = (
        "(2) @@ train_val.prototxt: ip (TEST) + name: ip_<i> "
        "@@ solver.prototxt - base_lr: 0.01 + base_lr: 0.001"
    )
    assert expected in text
    assert "BatchNorm" not in text


def test_page_tells_whose_statistics_are_kept(results: Results) -> None:
    results.add("alone", FAST, seeds=1)
    kept = {"layer": "bn_<1>", "phase": None, "field": "batch_norm_param.use_global_stats"}
    path = results.folder / "alone" / "seed1" / "patch.json"
    rows = [{**PATCH[0], **kept, "after": True}, *PATCH]
    path.write_text(json.dumps(rows))
    text = Page(results.html()).text
    assert "statistics that they have: the BatchNorm layers bn_<1>." in text


def test_page_tells_how_the_images_were_divided(results: Results) -> None:
    results.add("alone", FAST, seeds=1)
    path = results.folder / "summary.json"
    plain = json.loads(path.read_text())
    twice = {"across_splits": 4, "of_two_classes": 2}
    for changed, words in (
        ({}, "Split with seed 3, each class by itself."),
        ({"groups": 7}, "Split with seed 3, 7 groups, each of which is whole in one split."),
        ({"given": ["train", "test"]}, "The images of train and test are as they were given"),
        ({"folds": 5, "fold": 2}, "The test is fold 2 of 5, counted from 0."),
        ({"duplicates": twice}, "4 images of val and test lie in an earlier split too"),
        ({"duplicates": twice}, "2 images are of another class elsewhere"),
    ):
        path.write_text(json.dumps({**plain, **changed}))
        assert words in " ".join(Page(results.html()).text.split())


def test_page_claims_what_the_intervals_show(compared: str) -> None:
    text = Page(compared).text
    assert "finetune learns faster than scratch. From iteration 10 to 20" in text
    assert "From iteration 30 on, their intervals overlap for good" in text


def test_page_tells_iterations_to_reach_an_accuracy(compared: str) -> None:
    text = Page(compared).text
    assert "finetune 10.0 ± 0.0 10.0 ± 0.0 14.0 ± 6.8 20.0 ± 0.0" in text
    assert "scratch 24.0 ± 6.8 30.0 ± 0.0 30.0 ± 0.0 30.0 ± 0.0" in text


def test_experiments_that_are_alike_are_not_told_apart(results: Results) -> None:
    results.add("one", FAST)
    results.add("other", FAST)
    text = Page(results.html()).text
    assert "No difference between one and other is shown." in text
    assert "learns faster" not in text
    assert "scores higher" not in text


def test_one_experiment_of_one_seed_makes_a_page_without_intervals(results: Results) -> None:
    results.add("alone", FAST, seeds=1)
    text = Page(results.html()).text
    assert "0.917 alone: test accuracy, 1 seed" in text
    assert "nan" not in text


@pytest.mark.parametrize(
    ("figure", "complaint"),
    [
        ("alone:1:kernel:x.png", "KIND one of activations, calibration, comparison"),
        ("alone:1", "expected EXPERIMENT:SEED:KIND:PNG"),
        ("other:1:curves:{png}", "experiment 'other', of which no --run was given"),
    ],
)
def test_unfit_figure_is_named(results: Results, figure: str, complaint: str) -> None:
    results.add("alone", FAST, seeds=1)
    results.figures = [figure.format(png=results.folder / "alone" / "confusion.png")]
    with pytest.raises(ToolError, match=complaint):
        results.html()


def test_seeds_of_different_classes_are_refused(results: Results) -> None:
    results.add("alone", FAST, seeds=2)
    path = results.folder / "alone" / "seed2" / "evaluation.json"
    path.write_text(path.read_text().replace("ant", "bee"))
    with pytest.raises(ToolError, match="'alone': its seeds were evaluated with different classes"):
        results.html()


def test_broken_json_is_named(results: Results) -> None:
    results.add("alone", FAST, seeds=1)
    (results.folder / "alone" / "seed1" / "patch.json").write_text("[{")
    with pytest.raises(ToolError, match=r"patch\.json: expected JSON"):
        results.html()


def test_page_tells_how_far_the_readers_of_a_bundle_are_apart(results: Results) -> None:
    results.add("alone", FAST, seeds=1)
    assert "Deploy" not in Page(results.html()).text
    probabilities = np.array([[0.25, 0.75], [0.5, 0.5]])
    answers: dict[str, parity.Answer] = {
        "caffe.Classifier": probabilities + np.array([[3e-6, -3e-6], [0, 0]]),
        "OpenCV": "it knows no layer of <type>",
    }
    path = results.folder / "parity.json"
    path.write_text(json.dumps(parity.judge(probabilities, answers, ["a.png", "b.png"], CLASSES)))
    results.more += ["--parity", f"alone:4:{path}"]
    page = Page(results.html())
    assert "deploy" in page.ids
    assert (
        "experiment seed images caffe.Classifier OpenCV alone 4 2 3.0e-06 not checked" in page.text
    )
    assert "alone was not checked by OpenCV: it knows no layer of <type>." in page.text
    assert "More than 0.0001, and there would be no bundle" in page.text
