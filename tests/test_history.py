"""history.csv, written and read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from caffetools.cli import ToolError
from caffetools.history import Row, read_history, read_rows, write_history

ROWS = [
    Row(0, test_loss=2.3, test_accuracy=0.1),
    Row(1, 2.25, 0.01),
    Row(2, float(np.float32(1.1)), 0.01, 1.5, 0.5),
]


def test_the_file_is_as_the_contract_says(tmp_path: Path) -> None:
    write_history(tmp_path / "history.csv", ROWS)
    assert (tmp_path / "history.csv").read_text() == (
        "iteration,loss,learning_rate,test_loss,test_accuracy\n"
        "0,,,2.3,0.1\n"
        "1,2.25,0.01,,\n"
        "2,1.10000002,0.01,1.5,0.5\n"
    )


def test_single_precision_survives(tmp_path: Path) -> None:
    losses = np.random.default_rng(0).normal(size=200).astype(np.float32)
    write_history(tmp_path / "h.csv", [Row(i, float(x), 0.1) for i, x in enumerate(losses)])
    np.testing.assert_array_equal(read_history(tmp_path / "h.csv").loss.astype(np.float32), losses)


def test_columns_know_what_was_stepped_and_what_was_tested(tmp_path: Path) -> None:
    write_history(tmp_path / "history.csv", ROWS)
    assert read_rows(tmp_path / "history.csv")[:2] == ROWS[:2]
    history = read_history(tmp_path / "history.csv")
    np.testing.assert_array_equal(history.tested().iteration, [0, 2])
    np.testing.assert_array_equal(history.stepped().iteration, [1, 2])
    np.testing.assert_array_equal(history.stepped().loss[:1], [2.25])


def test_a_diverged_loss_is_kept(tmp_path: Path) -> None:
    write_history(tmp_path / "h.csv", [Row(1, float("nan"), 0.1), Row(2, float("inf"), 0.1)])
    history = read_history(tmp_path / "h.csv")
    np.testing.assert_array_equal(history.stepped().iteration, [1, 2])
    np.testing.assert_array_equal(history.loss, [np.nan, np.inf])


def test_no_rows_give_empty_columns(tmp_path: Path) -> None:
    write_history(tmp_path / "h.csv", [])
    assert len(read_history(tmp_path / "h.csv").iteration) == 0


def test_another_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "h.csv").write_text("label,class\n0,a\n")
    with pytest.raises(ToolError, match=r"expected the columns iteration,loss.*found label,class"):
        read_history(tmp_path / "h.csv")


@pytest.mark.parametrize("line", ["1,x,0.1,,", "1,0.5,0.1", "1,,,,,", "one,0.5,0.1,,"])
def test_a_broken_line_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "h.csv").write_text(
        f"iteration,loss,learning_rate,test_loss,test_accuracy\n0,,,,\n{line}\n"
    )
    with pytest.raises(ToolError, match="line 3"):
        read_history(tmp_path / "h.csv")
