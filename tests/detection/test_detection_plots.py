"""Figures of an evaluation: what they show by its numbers, the files by their bytes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import scenery
from matplotlib.figure import Figure

from caffetools.cli import ToolError
from caffetools.detection import evaluate
from caffetools.detection.drawing import MISSED, RIGHT, WRONG
from caffetools.detection.plots import false_positives, gallery, missed, precision_recall
from caffetools.detection.plots.false_positives import FalsePositivesDisplay
from caffetools.detection.plots.gallery import GalleryDisplay, ends
from caffetools.detection.plots.missed import MissedDisplay
from caffetools.detection.plots.precision_recall import PrecisionRecallDisplay


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images in ``images`` and the evaluation of detections in them."""
    folder = tmp_path_factory.mktemp("judged")
    pictures, found = scenery.random_scene(5, difficult=0.1)
    (folder / "images").mkdir()
    for picture in pictures:
        image = np.full((picture.height, picture.width, 3), 128, np.uint8)
        cv2.imwrite(str(folder / "images" / picture.path), image)
    listed, table, names = scenery.write(folder, pictures, found)
    evaluate.main([
        "--manifest", str(listed), "--split", "test", "--detections", str(table),
        "--classes", str(names), "--output", str(folder),
    ])  # fmt: skip
    return folder


def metrics_of(folder: Path) -> dict:
    return json.loads((folder / "metrics.json").read_text())


def arguments(judged: Path, *names: str) -> list[str]:
    files = {"curves": "curves.csv", "metrics": "metrics.json", "images": "images"}
    return [
        word
        for name in names
        for word in (f"--{name}", str(judged / files.get(name, f"{name}.csv")))
    ]


@pytest.mark.parametrize(
    ("command", "names"),
    [
        (precision_recall.main, ("curves", "metrics")),
        (false_positives.main, ("metrics",)),
        (missed.main, ("metrics",)),
        (gallery.main, ("images", "scores", "judged", "missed")),
    ],
)
def test_a_figure_is_the_same_bytes_twice(
    command: Callable, names: tuple[str, ...], judged: Path, tmp_path: Path
):
    written = []
    for name in ("first", "second"):
        files = [tmp_path / f"{name}{ending}" for ending in (".png", ".svg")]
        given = arguments(judged, *names) + (["--count", "4"] if "images" in names else [])
        command([*given, "--output", *map(str, files)])
        written.append([path.read_bytes() for path in files])
    assert written[0] == written[1]
    png, svg = written[0]
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    assert svg.startswith(b"<?xml")


def test_curves_are_those_of_the_table(judged: Path):
    display = PrecisionRecallDisplay.read(judged / "curves.csv", judged / "metrics.json")
    ax = display.plot(Figure().subplots())
    rows = metrics_of(judged)["classes"]
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == [f"{row['area']:.3f} {row['class']}" for row in rows]
    for line, (recall, precision) in zip(ax.lines, display.curves.values(), strict=True):
        assert line.get_xdata()[0] == 0
        np.testing.assert_array_equal(line.get_xdata()[1:], recall)
        np.testing.assert_array_equal(line.get_ydata()[1:], precision)


def test_a_long_curve_is_thinned(judged: Path):
    recall = np.linspace(0, 1, 100_000)
    display = PrecisionRecallDisplay({"cat": (recall, 1 - recall)}, {"cat": 0.5})
    line = display.plot(Figure().subplots()).lines[0]
    assert len(line.get_xdata()) == 2001
    assert (line.get_xdata()[-1], line.get_ydata()[-1]) == (1, 0)


def test_a_class_without_detections_has_a_line_without_points():
    nothing = np.zeros(0)
    display = PrecisionRecallDisplay({"cat": (nothing, nothing)}, {"cat": 0.0})
    ax = display.plot(Figure().subplots())
    assert len(ax.lines[0].get_xdata()) == 0
    assert ax.get_legend().get_texts()[0].get_text() == "0.000 cat"


@pytest.mark.parametrize("name", [r"$\frac{$", "_hidden", "кот"])
def test_any_name_may_stand_in_a_figure(name: str, tmp_path: Path):
    curve = (np.array([0.5]), np.array([1.0]))
    shown = (
        PrecisionRecallDisplay({name: curve}, {name: 0.5}),
        FalsePositivesDisplay([name], np.array([[1], [0], [0], [0], [0]])),
    )
    for display in shown:
        figure = Figure()
        ax = display.plot(figure.subplots())
        figure.savefig(tmp_path / "figure.svg")
        texts = [*ax.get_legend().get_texts(), *ax.get_yticklabels()]
        assert any(name in text.get_text().replace(r"\$", "$") for text in texts)
    image = np.zeros((9, 9, 3), np.uint8)
    axes = [Figure().add_subplot()]
    GalleryDisplay([image], [name], 1).plot(axes)
    axes[0].figure.savefig(tmp_path / "figure.svg")


def test_bars_are_the_kinds_shares(judged: Path):
    display = FalsePositivesDisplay.read(judged / "metrics.json")
    ax = display.plot(Figure().subplots())
    rows = metrics_of(judged)["classes"]
    assert [bars.get_label() for bars in ax.containers] == ["right", *evaluate.KINDS]
    for bars, key in zip(ax.containers, ("first_right", *evaluate.KINDS), strict=True):
        shares = [row[key] / row["first"] for row in rows]
        np.testing.assert_allclose([bar.get_width() for bar in bars], shares)
    last = ax.containers[-1]
    np.testing.assert_allclose([bar.get_x() + bar.get_width() for bar in last], 1)


def test_bars_are_the_missed_shares(judged: Path):
    axes = Figure().subplots(1, 2)
    MissedDisplay.read(judged / "metrics.json").plot(list(axes))
    told = metrics_of(judged)["missed_by_size"]
    for ax, sizes in zip(axes, (told["pixels"], told["share_of_image"]), strict=True):
        one = [sizes[name] for name in ("small", "medium", "large")]
        shares = [size["missed"] / max(size["objects"], 1) for size in one]
        assert [bar.get_height() for bar in ax.patches] == shares
        assert [text.get_text() for text in ax.texts] == [
            f"{size['missed']} of {size['objects']}" for size in one
        ]
    assert any(size["missed"] for size in told["pixels"].values())


def test_the_gallery_shows_both_ends_with_their_boxes(judged: Path):
    tables = [judged / f"{name}.csv" for name in ("scores", "judged", "missed")]
    display = GalleryDisplay.read(judged / "images", *tables, count=5)
    lines = [line.split(",") for line in tables[0].read_text().splitlines()[1:]]
    shown = [*lines[:3], lines[-1], lines[-2]]
    assert display.best == 3
    captions = [f"{path}\nF1 {float(f1):.2f}" for path, f1, *_ in shown]
    assert display.captions == captions
    for image, (_, _, _, right, wrong, lost) in zip(display.images, shown, strict=True):
        assert image.shape == (420, 420, 3)
        for style, count in ((RIGHT, right), (WRONG, wrong), (MISSED, lost)):
            assert np.any(np.all(image == style.colour, axis=2)) == (int(count) > 0)
    assert display.rows == 2
    axes = [Figure().add_subplot() for _ in range(8)]
    display.plot(axes)
    assert [len(ax.images) for ax in axes] == [1, 1, 1, 0, 1, 1, 0, 0]


def test_no_image_is_at_both_ends():
    assert ends("abcdefg", 4) == (["a", "b"], ["g", "f"])
    assert ends("abcdefg", 5) == (["a", "b", "c"], ["g", "f"])
    assert ends("abc", 8) == (["a", "b"], ["c"])
    assert ends("a", 8) == (["a"], [])


def test_an_image_that_is_not_there_is_named(judged: Path, tmp_path: Path):
    given = arguments(judged, "scores", "judged", "missed")
    output = ["--output", str(tmp_path / "gallery.png")]
    with pytest.raises(ToolError, match=r"\.png: .*; give the folder of the images"):
        gallery.main([*given, "--images", str(tmp_path), *output])
    (tmp_path / "scores.csv").write_text("path,f1\n../a.png,1\n")
    given[1] = str(tmp_path / "scores.csv")
    with pytest.raises(ToolError, match=r"\.\./a\.png: expected the name of an image inside"):
        gallery.main([*given, "--images", str(judged / "images"), *output])
    with pytest.raises(ToolError, match="--count: expected at least 1, found 0"):
        gallery.main([*given, "--images", str(judged / "images"), *output, "--count", "0"])
    assert not (tmp_path / "gallery.png").exists()


def test_a_file_that_is_another_is_told(judged: Path, tmp_path: Path):
    other = tmp_path / "other"
    other.write_text("{}")
    output = ["--output", str(tmp_path / "out.png")]
    with pytest.raises(ToolError, match=r"expected the metrics\.json of"):
        missed.main(["--metrics", str(other), *output])
    with pytest.raises(ToolError, match=r"cannot be read as metrics\.json"):
        missed.main(["--metrics", str(tmp_path / "none"), *output])
    other.write_text("class,recall,precision,score\nbird,0,0,0\n")
    with pytest.raises(ToolError, match="expected the columns class,recall,precision,score"):
        precision_recall.main(["--curves", str(other), *arguments(judged, "metrics"), *output])
    given = arguments(judged, "images", "scores", "missed")
    with pytest.raises(ToolError, match="expected the table as caffetools"):
        gallery.main([*given, "--judged", str(other), *output])
