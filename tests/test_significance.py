"""caffetools.significance against SciPy's tests."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from caffetools.cli import ToolError
from caffetools.significance import (
    MCNEMAR,
    WELCH,
    Trained,
    differences,
    holm,
    main,
    mcnemar,
    read_differences,
    welch,
)

ONE, OTHER = [0.81, 0.84, 0.79, 0.85, 0.9], [0.76, 0.8, 0.775]
NONE_RIGHT = np.zeros(4, dtype=bool)


def test_welchs_test_is_scipys() -> None:
    expected = stats.ttest_ind(ONE, OTHER, equal_var=False)
    half_width, p = welch(ONE, OTHER)
    assert p == pytest.approx(expected.pvalue, rel=1e-9)
    interval = expected.confidence_interval(0.95)
    assert half_width == pytest.approx((interval.high - interval.low) / 2, rel=1e-9)


def test_seeds_without_spread_tell_nothing() -> None:
    half_width, p = welch([0.5, 0.5], [0.75, 0.75])
    assert half_width == 0
    assert math.isnan(p)


@pytest.mark.parametrize(("one", "other"), [(9, 2), (2, 9), (5, 5), (0, 0), (0, 6)])
def test_mcnemars_test_is_the_binomial_one(one: int, other: int) -> None:
    first = np.array([True] * one + [False] * other + [True] * 5 + [False] * 3)
    second = np.array([False] * one + [True] * other + [True] * 5 + [False] * 3)
    expected = stats.binomtest(one, one + other).pvalue if one + other else 1.0
    assert mcnemar(first, second) == pytest.approx(expected, rel=1e-9)


def test_holms_method_on_a_case_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    adjusted = holm([0.02, math.nan, 0.01])
    assert adjusted[::2] == pytest.approx([0.02, 0.02])
    assert math.isnan(adjusted[1])


def test_pairs_of_single_seeds_are_told_apart_by_their_images() -> None:
    right = np.arange(20) < 15
    found = differences(
        {
            "a": Trained(ONE, right),
            "b": Trained(OTHER, right),
            "c": Trained([0.25], ~right),
        }
    )
    assert [(each.first, each.second, each.test) for each in found] == [
        ("a", "b", WELCH), ("a", "c", MCNEMAR), ("b", "c", MCNEMAR),
    ]  # fmt: skip
    assert found[0].difference == pytest.approx(np.mean(ONE) - np.mean(OTHER))
    assert math.isnan(found[1].half_width)
    assert found[1].p == pytest.approx(stats.binomtest(15, 20).pvalue)
    assert [each.adjusted for each in found] == pytest.approx(holm([each.p for each in found]))


def test_nets_judged_on_other_images_are_not_compared() -> None:
    with pytest.raises(ToolError, match="'a' and 'b' were evaluated on 4 and 3 images"):
        differences({"a": Trained([0.0], NONE_RIGHT), "b": Trained([0.0], NONE_RIGHT[:3])})


def write_run(folder: Path, accuracy: float) -> str:
    folder.mkdir(parents=True)
    (folder / "evaluation.json").write_text(json.dumps({"accuracy": accuracy}))
    rows = [f"{i},0,{int(i >= 100 * accuracy)},0.9,k" for i in range(100)]
    header = "index,label,predicted,probability,key"
    (folder / "predictions.csv").write_text("\n".join([header, *rows]) + "\n")
    return f"{folder.parent.name}:{folder.name[4:]}:{folder}"


def test_the_command_writes_what_the_report_reads(tmp_path: Path) -> None:
    runs = [
        write_run(tmp_path / name / f"seed{seed}", accuracy)
        for name, accuracies in (("one", ONE), ("other", OTHER))
        for seed, accuracy in enumerate(accuracies)
    ]
    main(["--run", *runs, "--output", str(tmp_path / "significance.csv")])
    (found,) = read_differences(tmp_path / "significance.csv")
    assert (found.first, found.second, found.test) == ("one", "other", WELCH)
    assert found.p == pytest.approx(welch(ONE, OTHER)[1], rel=1e-8)
    assert found.adjusted == found.p


def test_unfit_files_are_named(tmp_path: Path) -> None:
    run = write_run(tmp_path / "one" / "seed0", 0.5)
    evaluation = tmp_path / "one" / "seed0" / "evaluation.json"
    evaluation.write_text("{}")
    with pytest.raises(ToolError, match=r"evaluation\.json: expected JSON with a number"):
        main(["--run", run, "--output", str(tmp_path / "out.csv")])
    (tmp_path / "out.csv").write_text("a,b\n")
    with pytest.raises(ToolError, match=r"out\.csv: expected the columns first,second"):
        read_differences(tmp_path / "out.csv")
