"""Detection's HTML report: whole, offline, escaped, and as bold as its data."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import scenery
import scenes
from html_page import Page

from caffetools.cli import ToolError
from caffetools.detection import evaluate, report

FOLD = ("--train", "0", "--val", "0", "--test", "0", "--folds", "2", "--fold", "1")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set's summary, two seeds' evaluations, and a figure."""
    folder = tmp_path_factory.mktemp("results")
    for seed in 0, 1:
        run = folder / f"tuned/{seed}"
        (run / "evaluation").mkdir(parents=True)
        pictures, found = scenery.random_scene(seed)
        listed, table, names = scenery.write(run, pictures, found)
        evaluate.main([
            "--manifest", str(listed), "--split", "test", "--detections", str(table),
            "--classes", str(names), "--output", str(run / "evaluation"),
        ])  # fmt: skip
    cv2.imwrite(str(folder / "losses.png"), np.zeros((4, 4, 3), np.uint8))
    scenes.write_csv(folder / "source")
    scenes.make("csv", folder / "source", *FOLD, "--ignore-splits")
    return folder


def page_of(results: Path, *more: str, summary: str = "out/summary.json") -> Page:
    runs = [f"tuned:{seed}:{results}/tuned/{seed}" for seed in (0, 1)]
    report.main([
        "--title", "cats & <dogs>", "--summary", str(results / summary), "--run", *runs,
        "--figure", f"tuned:losses:{results}/losses.png", *more,
        "--output", str(results / "report.html"),
    ])  # fmt: skip
    return Page((results / "report.html").read_text(encoding="utf-8"))


def metrics(results: Path, seed: int) -> dict:
    return json.loads((results / f"tuned/{seed}/evaluation/metrics.json").read_text())


def test_the_means_over_the_seeds_are_those_of_the_metrics(results: Path) -> None:
    page = page_of(results)
    for name in "voc07", "area":
        values = [metrics(results, seed)[name] for seed in (0, 1)]
        assert f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}" in page.text
    objects = sum(one["objects"] for one in metrics(results, 0)["classes"])
    assert objects > 30
    for one in metrics(results, 0)["classes"]:
        assert f"{one['class']} {one['objects']} " in page.text


def test_the_page_stands_alone_and_escapes(results: Path) -> None:
    page = page_of(results)
    assert "cats & <dogs>" in page.text
    assert len([tag for tag in page.tags if tag == "img"]) == 1
    assert all(each.startswith(("#", "data:")) for each in page.addresses)
    assert len(set(page.ids)) == len(page.ids)


def test_it_tells_how_the_images_were_divided(results: Path) -> None:
    assert "Split with seed 0. The test is fold 1 of 2, counted from 0." in page_of(results).text
    scenes.write_csv(results / "given" / "source")
    scenes.make("csv", results / "given" / "source")
    given = page_of(results, summary="given/out/summary.json").text
    assert "The images of train and val and test are as the annotations give them." in given


def test_one_seed_has_no_deviation_and_an_unknown_value_is_told() -> None:
    assert str(report.Mean.of([0.5])) == "0.500"
    assert str(report.Mean.of([0.5, None])) == "unknown"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--figure", "tuned:pie:x.png"), "tuned:pie:x.png: expected EXPERIMENT:KIND:PATH"),
        (("--summary", "{}/losses.png"), "losses.png: expected JSON"),
        (("--summary", "{}/tuned/0/evaluation/metrics.json"), "expected the summary.json of"),
        (("--run", "tuned:0:{}/none"), "metrics.json: cannot be read"),
    ],
)
def test_mistakes_are_named(results: Path, more: tuple[str, ...], message: str) -> None:
    with pytest.raises(ToolError, match=message):
        page_of(results, *(word.replace("{}", str(results)) for word in more))
