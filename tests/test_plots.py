"""Figures: what they show by its numbers, the files by their bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import lmdb
import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.figure import Figure

from caffe.proto import caffe_pb2
from caffetools.cli import ToolError
from caffetools.comparison import arm_of
from caffetools.history import Row, history_of, write_history
from caffetools.plots import comparison, confusion, curves, samples, training
from caffetools.plots.style import figure_file
from caffetools.predictions import Prediction, read_predictions
from caffetools.solvers.figures import Picture
from caffetools.solvers.rates import RateRange

PNG = b"\x89PNG\r\n\x1a\n"
Command = Callable[[Sequence[str]], None]


def check_file(command: Command, arguments: Sequence[str], folder: Path) -> None:
    """The command writes PNG and SVG, the same bytes twice, with nothing but the picture in it."""
    pictures = []
    for name in ("first", "second"):
        files = [folder / f"{name}.png", folder / f"{name}.svg"]
        command([*arguments, "--output", *map(str, files)])
        pictures.append([path.read_bytes() for path in files])
    assert pictures[0] == pictures[1]
    png, svg = pictures[0]
    assert png.startswith(PNG)
    assert b"tEXt" not in png
    assert svg.startswith(b"<?xml")
    assert b"<dc:date>" not in svg


def rows(top: float = 0.9) -> list[Row]:
    tests = {0: 0.1, 20: 0.8 * top, 40: top}
    return [
        Row(i, 2.0 / i if i else None, 0.01 if i else None, 1.0, tests[i])
        if i in tests
        else Row(i, 2.0 / i, 0.01)
        for i in range(41)
    ]


# --- curves -----------------------------------------------------------------------------


def test_running_mean_looks_back_only() -> None:
    np.testing.assert_allclose(curves.running_mean(np.array([1.0, 3, 5, 7]), 2), [1, 2, 4, 6])


def test_curves_show_loss_error_and_rate() -> None:
    display = curves.CurvesDisplay.from_history(history_of(rows()))
    loss, error, rate = display.plot(list(Figure().subplots(3)))
    batch, mean, test = (line.get_xydata() for line in loss.get_lines())
    np.testing.assert_allclose(batch[:, 1], 2.0 / np.arange(1, 41))
    np.testing.assert_allclose(mean[1, 1], (2 + 1) / 2)
    np.testing.assert_allclose(test, np.array([[0, 1], [20, 1], [40, 1]]))
    np.testing.assert_allclose(error.get_lines()[0].get_ydata(), [0.9, 0.28, 0.1])
    np.testing.assert_allclose(rate.get_lines()[0].get_ydata(), 0.01)


def test_curves_file(tmp_path: Path) -> None:
    write_history(tmp_path / "h.csv", rows())
    check_file(curves.main, ["--history", str(tmp_path / "h.csv")], tmp_path)


# --- comparison -------------------------------------------------------------------------


def test_band_is_the_interval() -> None:
    arm = arm_of("finetune", [history_of(rows(top)) for top in (0.8, 0.9, 0.85)])
    ax = comparison.plot_arms([arm], Figure().subplots())
    line = ax.get_lines()[0]
    assert line.get_label() == "finetune"
    np.testing.assert_allclose(line.get_xydata()[:, 1], arm.mean)
    band = ax.collections[0].get_paths()[0].vertices
    at_end = band[band[:, 0] == 40][:, 1]
    assert at_end.min() == pytest.approx(0.85 - arm.half_width[-1])
    assert at_end.max() == pytest.approx(0.85 + arm.half_width[-1])


def test_comparison_file(tmp_path: Path) -> None:
    for seed, top in enumerate((0.8, 0.9)):
        write_history(tmp_path / f"{seed}.csv", rows(top))
    runs = [f"{arm}:{seed}:{tmp_path / str(seed)}.csv" for arm in ("a", "b") for seed in (0, 1)]
    check_file(comparison.main, ["--run", *runs], tmp_path)


@pytest.mark.parametrize("text", ["finetune", "finetune:1", "finetune:one:path"])
def test_run_that_is_not_three_parts_is_refused(text: str) -> None:
    with pytest.raises(ToolError, match="expected EXPERIMENT:SEED:PATH"):
        comparison.parse_run(text)


# --- confusion --------------------------------------------------------------------------

CONFUSION = 'true \\ predicted,ant,"<b>, &"\nant,3,1\n"<b>, &",0,0\n'


def test_confusion_is_read_and_divided_by_row(tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text(CONFUSION)
    display = confusion.sum_of([confusion.read_confusion(tmp_path / "c.csv")] * 2)
    assert display.classes == ["ant", "<b>, &"]
    np.testing.assert_array_equal(display.counts, [[6, 2], [0, 0]])
    np.testing.assert_allclose(display.share, [[0.75, 0.25], [0, 0]])
    ax = display.plot(Figure().subplots())
    assert [text.get_text() for text in ax.texts] == ["6", "2"]


def test_confusion_of_other_classes_is_not_added(tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text(CONFUSION)
    (tmp_path / "d.csv").write_text(CONFUSION.replace("ant", "bee"))
    with pytest.raises(ToolError, match="different classes"):
        confusion.sum_of([confusion.read_confusion(tmp_path / n) for n in ("c.csv", "d.csv")])


@pytest.mark.parametrize("text", ["", "true,a,b\na,1,2\n"])
def test_confusion_that_is_not_square_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "c.csv").write_text(text)
    with pytest.raises(ToolError, match="expected one row for each class"):
        confusion.read_confusion(tmp_path / "c.csv")


def test_confusion_file(tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text(CONFUSION)
    check_file(confusion.main, ["--confusion", str(tmp_path / "c.csv")], tmp_path)


def test_confusion_of_classes_with_dollars_in_their_names(tmp_path: Path) -> None:
    """matplotlib takes what stands between two for a formula, and x^^y is none."""
    (tmp_path / "c.csv").write_text("true,$x^^y$,b\n$x^^y$,3,1\nb,0,1\n")
    check_file(confusion.main, ["--confusion", str(tmp_path / "c.csv")], tmp_path)


# --- trainings under way ----------------------------------------------------------------


def test_losses_are_drawn_with_their_mean() -> None:
    ax = training.plot_loss([2, 4], [3.0, 1.0], Figure().subplots())
    batch, mean = (line.get_xydata() for line in ax.get_lines())
    np.testing.assert_array_equal(batch, [[2, 3], [4, 1]])
    np.testing.assert_array_equal(mean, batch)


def test_errors_and_magnitudes_are_drawn_by_name() -> None:
    iterations = {"train": [2], "test": [0, 2]}
    ax = training.plot_errors(iterations, {"test": [0.5, 0.25]}, Figure().subplots())
    np.testing.assert_array_equal(ax.get_lines()[0].get_xydata(), [[0, 0.5], [2, 0.25]])
    ax = training.plot_magnitudes([1, 2], {"ip": [3, 4], "score": [5, 6]}, Figure().subplots())
    assert [line.get_label() for line in ax.get_lines()] == ["ip", "score"]
    np.testing.assert_array_equal(ax.get_lines()[1].get_xydata(), [[1, 5], [2, 6]])
    assert ax.get_yscale() == "log"


def test_the_range_of_rates_is_drawn_with_its_suggestion() -> None:
    ax = RateRange([0.1, 1.0, 10.0], [3.0, 3.0, 0.0]).plot(Figure().subplots())
    line, mark = ax.get_lines()
    np.testing.assert_allclose(line.get_xydata(), [[0.1, 2], [1, 2], [10, 2]])
    assert mark.get_xdata()[0] == 0.1
    assert ax.get_xscale() == "log"


def test_pictures_are_png_or_svg_by_name_and_the_same_bytes_twice(tmp_path: Path) -> None:
    starts = {"a.png": PNG, "a.svg": b"<?xml"}
    for name, start in starts.items():
        pictures = []
        for _ in range(2):
            picture = Picture(str(tmp_path / name))
            picture.draw(lambda ax: training.plot_loss([1, 2], [3.0, 1.0], ax))
            pictures.append((tmp_path / name).read_bytes())
        assert pictures[0].startswith(start)
        assert pictures[0] == pictures[1]
    with pytest.raises(ToolError, match=r"a\.gif: expected a file named \.png or \.svg"):
        Picture("a.gif")


def test_a_figure_of_another_ending_is_refused_before_anything_is_drawn(tmp_path: Path) -> None:
    paths = [tmp_path / "a.png", tmp_path / "b.jpg"]
    with (
        pytest.raises(ToolError, match=r"b\.jpg: expected a file named \.png or \.svg"),
        figure_file(paths, 1, 1),
    ):
        pytest.fail("it was drawn")
    assert not list(tmp_path.iterdir())


def test_a_window_is_opened_only_where_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[float] = []
    monkeypatch.setattr(pyplot, "pause", shown.append)
    monkeypatch.setattr(pyplot, "ion", lambda: None)
    pyplot.switch_backend("Agg")
    Picture().draw(lambda ax: ax.plot([1]))
    assert not shown
    window = Picture(show=True)
    for count in (1, 2):
        window.draw(lambda ax: ax.plot([1]))
        assert len(shown) == count
    assert len(pyplot.get_fignums()) == 1
    pyplot.close("all")


# --- samples ----------------------------------------------------------------------------

PREDICTIONS = [Prediction(i, i % 2, int(i in (3, 4, 9)) ^ i % 2, 0.9) for i in range(40)]


def test_half_are_wrong_if_there_are_so_many() -> None:
    def wrong(count: int) -> list[int]:
        chosen = samples.choose(PREDICTIONS, count)
        assert len({one.index for one in chosen}) == count
        return [one.index for one in chosen if one.label != one.predicted]

    assert wrong(4) == [3, 4]
    assert wrong(12) == [3, 4, 9]
    assert wrong(40) == [3, 4, 9]
    only_wrong = [Prediction(i, 0, 1, 0.5) for i in range(6)]
    assert [one.index for one in samples.choose(only_wrong, 4)] == [0, 1, 3, 4]


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("samples") / "lmdb"
    environment = lmdb.open(str(path), map_size=1 << 20)
    with environment, environment.begin(write=True) as transaction:
        for one in PREDICTIONS:
            datum = caffe_pb2.Datum(
                channels=1, height=2, width=2, data=bytes([one.index] * 4), label=one.label
            )
            transaction.put(b"%08d" % one.index, datum.SerializeToString())
    return path


def test_images_are_those_predicted_for(digits: Path) -> None:
    chosen = [PREDICTIONS[3], PREDICTIONS[7]]
    display = samples.SamplesDisplay.from_lmdb(digits, chosen, ["ant", "bee"])
    assert [image[0, 0] for image in display.images] == [3, 7]
    assert display.captions == ["bee → ant\n90%", "bee\n90%"]
    assert display.right == [False, True]
    titles = [ax.get_title() for ax in display.plot(list(Figure().subplots(2)))]
    assert titles == ["✗ bee → ant\n90%", "bee\n90%"]


def test_predictions_for_another_lmdb_are_refused(digits: Path) -> None:
    with pytest.raises(ToolError, match="entry 3 has label 1, the predictions say 0"):
        samples.SamplesDisplay.from_lmdb(digits, [Prediction(3, 0, 0, 0.9)], None)
    with pytest.raises(ToolError, match="it has 40 entries, counted from 0, and entry 40 is asked"):
        samples.SamplesDisplay.from_lmdb(digits, [Prediction(40, 0, 0, 0.9)], None)


def test_samples_file(digits: Path, tmp_path: Path) -> None:
    write_predictions(tmp_path / "p.csv", PREDICTIONS)
    arguments = ["--lmdb", str(digits), "--predictions", str(tmp_path / "p.csv"), "--count", "8"]
    check_file(samples.main, arguments, tmp_path)


def write_predictions(path: Path, predictions: list[Prediction]) -> None:
    lines = [
        f"{p.index},{p.label},{p.predicted},{p.probability},{p.index:08d}_some/image{p.index}.png\n"
        for p in predictions
    ]
    path.write_text("index,label,predicted,probability,key\n" + "".join(lines))


def test_the_worst_are_the_surest_mistakes(digits: Path, tmp_path: Path) -> None:
    sure = {3: 0.5, 4: 0.9, 9: 0.9, 7: 1.0}
    given = [replace(one, probability=sure.get(one.index, 0.7)) for one in PREDICTIONS]
    write_predictions(tmp_path / "p.csv", given)
    found = samples.worst(read_predictions(tmp_path / "p.csv"), 5)
    assert [one.index for one in found] == [4, 9, 3]
    assert [one.index for one in samples.worst(found, 1)] == [4]
    display = samples.SamplesDisplay.from_lmdb(digits, found, None, named=True)
    assert display.captions[0] == "0 → 1\n90%\n…image4.png"

    arguments = ["--worst", "--lmdb", str(digits), "--predictions", str(tmp_path / "p.csv")]
    check_file(samples.main, arguments, tmp_path)
    write_predictions(tmp_path / "p.csv", [one for one in given if one.is_right])
    samples.main([*arguments, "--output", str(tmp_path / "none.png")])
    assert (tmp_path / "none.png").stat().st_size > 0


def test_another_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("index,label\n0,1\n")
    with pytest.raises(ToolError, match="expected the columns index,label,predicted"):
        read_predictions(tmp_path / "p.csv")
