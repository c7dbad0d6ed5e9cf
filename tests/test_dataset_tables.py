"""Data sets told by Caffe's lists and by tables."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from caffetools.cli import ToolError
from caffetools.dataset import __main__ as dataset

SHARES = ["--train", "0.5", "--val", "0.25", "--test", "rest"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Eight different images of two classes, in no folders of classes."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos" / "of 2019").mkdir(parents=True)
    for i in range(8):
        image = np.random.RandomState(i).randint(0, 256, (6, 5, 3)).astype(np.uint8)
        cv2.imwrite(str(tmp_path / "photos" / "of 2019" / f"{i}.png"), image)
    return tmp_path


def names(numbers, label=None) -> str:
    return "".join(f"of 2019/{i}.png {i % 2 if label is None else label}\n" for i in numbers)


def run(*options: str) -> Path:
    dataset.main(["--source", "photos", "--output", "out", *options])
    return Path("out")


def manifest(output: Path) -> list[dict[str, str]]:
    with (output / "manifest.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_a_list_without_splits_is_split(here):
    Path("all.txt").write_text(names(range(8)))
    output = run("--list", "all.txt", *SHARES)
    assert json.loads((output / "summary.json").read_text())["totals"] == {
        "train": 4, "val": 2, "test": 2,
    }  # fmt: skip
    assert (output / "classes.txt").read_text() == "0\n1\n"
    assert [row["path"] for row in manifest(output)] == [f"of 2019/{i}.png" for i in range(8)]


def test_lists_of_splits_stay_in_their_order(here):
    Path("train.txt").write_text(names([5, 2, 0, 1]))
    Path("val.txt").write_text(names([7, 6]))
    Path("names.txt").write_text("even\nodd\n")
    lists = ["--train-list", "train.txt", "--val-list", "val.txt", "--test-list", "val.txt"]
    output = run(*lists, "--names", "names.txt", *SHARES)
    assert (output / "train.txt").read_text() == names([5, 2, 0, 1])
    assert (output / "val.txt").read_text() == names([7, 6])
    assert (output / "test.txt").read_text() == names([7, 6])
    assert (output / "classes.txt").read_text() == "even\nodd\n"
    assert [row["class"] for row in manifest(output)] == ["odd", "even", "even", "odd"] + [
        "odd", "even",
    ] * 2  # fmt: skip
    # Whoever names a file for val and for test means it.
    assert (output / "duplicates.csv").read_text().count("\n") == 1


def test_a_list_that_trains_on_its_test_is_told_so(here, caplog):
    Path("train.txt").write_text(names([0, 1, 2, 3]))
    Path("test.txt").write_text(names([3, 4]))
    output = run("--train-list", "train.txt", "--test-list", "test.txt", *SHARES[:2], "--val", "0",
                 "--test", "0")  # fmt: skip
    assert "1 images of val and test are in an earlier split too" in caplog.text
    with (output / "duplicates.csv").open() as stream:
        (row,) = csv.DictReader(stream)
    assert (row["path"], row["other_split"], row["kind"]) == ("of 2019/3.png", "train", "exact")
    assert json.loads((output / "summary.json").read_text())["duplicates"]["across_splits"] == 1


def test_a_table_gives_classes_splits_and_groups(here):
    rows = ["split,path,class,group"]
    rows += [f'train,"of 2019/{i}.png",{"ab"[i % 2]},' for i in range(4)]
    rows += [f'test,"of 2019/{i}.png",{"ab"[i % 2]},' for i in range(4, 6)]
    Path("table.csv").write_text("\n".join(rows) + "\n", encoding="utf-8-sig")
    output = run("--index", "table.csv", "--train", "rest", "--val", "1", "--test", "0")
    facts = json.loads((output / "summary.json").read_text())
    assert (facts["classes"], facts["totals"]) == (["a", "b"], {"train": 2, "val": 2, "test": 2})


def test_a_table_of_one_split_alone_tells_none(here):
    rows = ["path,label,split", *(f"of 2019/{i}.png,{i % 2},train" for i in range(8))]
    Path("table.csv").write_text("\n".join(rows))
    facts = json.loads((run("--index", "table.csv", *SHARES) / "summary.json").read_text())
    assert (facts["totals"], facts["given"]) == ({"train": 4, "val": 2, "test": 2}, [])


def test_given_splits_may_be_ignored(here):
    Path("train.txt").write_text(names([0, 1]))
    Path("test.txt").write_text(names(range(2, 8)))
    lists = ["--train-list", "train.txt", "--test-list", "test.txt"]
    output = run(*lists, "--ignore-splits", *SHARES)
    facts = json.loads((output / "summary.json").read_text())
    assert (facts["totals"], facts["given"]) == ({"train": 4, "val": 2, "test": 2}, [])


def test_groups_of_a_table_stay_whole(here):
    rows = ["path,label,group", *(f"of 2019/{i}.png,{i % 2},{i // 2}" for i in range(8))]
    Path("table.csv").write_text("\n".join(rows))
    table = manifest(run("--index", "table.csv", *SHARES))
    assert len({(row["group"], row["split"]) for row in table}) == 4
    assert {row["split"] for row in table} == {"train", "val", "test"}


def test_groups_by_a_pattern_of_the_path(here):
    Path("all.txt").write_text(names(range(8)))
    table = manifest(run("--list", "all.txt", "--group", r"/([0-3]|[4-7])", *SHARES[:2], "--val",
                         "0", "--test", "rest"))  # fmt: skip
    assert [row["group"] for row in table] == [str(i) for i in range(8)]
    table = manifest(run("--list", "all.txt", "--group", "201[0-9]", "--train", "rest",
                         "--val", "0", "--test", "0"))  # fmt: skip
    assert {(row["group"], row["split"]) for row in table} == {("2019", "train")}


def test_the_same_options_give_the_same_bytes(here):
    Path("all.txt").write_text(names(range(8)))
    first = {path.name: path.read_bytes() for path in run("--list", "all.txt", *SHARES).iterdir()}
    again = {path.name: path.read_bytes() for path in run("--list", "all.txt", *SHARES).iterdir()}
    assert first == again


def test_a_maximum_leaves_images_over(here):
    Path("all.txt").write_text(names(range(8)))
    output = run("--list", "all.txt", "--max-per-class", "3", "--train", "1", "--val", "1",
                 "--test", "rest")  # fmt: skip
    facts = json.loads((output / "summary.json").read_text())
    assert (facts["totals"], facts["unused"]) == ({"train": 2, "val": 2, "test": 2}, 2)


def test_what_a_list_names_and_is_not_there_is_dropped_and_strict_ends(here):
    Path("all.txt").write_text(names(range(8)) + "of 2019/none.png 1\n../secret.png 0\n")
    Path("secret.png").write_bytes(Path("photos/of 2019/0.png").read_bytes())
    dropped = {row["path"]: row["dropped"] for row in manifest(run("--list", "all.txt", *SHARES))}
    assert dropped["of 2019/none.png"] == "is not there"
    assert "leads out of the source folder" in dropped["../secret.png"]
    with pytest.raises(ToolError, match=r"2 images cannot be used.*'of 2019/none.png', which is"):
        run("--list", "all.txt", "--strict", *SHARES)


def test_names_that_no_file_can_have_are_dropped_by_name(here):
    long = "x" * 300
    rows = [f"of 2019/{i}.png,{i % 2}" for i in range(8)]
    rows += ["a\0b.png,0", f"{long}.png,1", '"a\rb.png",1']
    Path("table.csv").write_text("path,label\n" + "\n".join(rows) + "\n", newline="")
    found = manifest(run("--index", "table.csv", *SHARES))
    assert len(found) == 11
    assert {row["path"]: row["dropped"] for row in found if row["dropped"]} == {
        "a\0b.png": "has a NUL in its name",
        f"{long}.png": "cannot be opened: File name too long",
        "a\rb.png": "has a line break in its name",
    }


def test_groups_of_names_that_are_not_utf8(here):
    Path(os.fsdecode(b"photos/of 2019/9_caf\xe9.png")).write_bytes(b"")
    (here / "photos" / "odd").mkdir()
    for i in (1, 3, 5, 7):
        (here / "photos" / "of 2019" / f"{i}.png").rename(here / "photos" / "odd" / f"{i}.png")
    found = manifest(run("--group", "([^/]*)[.]png$", *SHARES))
    assert [row["group"] for row in found if row["dropped"]] == ["9_caf\\udce9"]


def test_a_byte_order_mark_is_no_part_of_a_name(here):
    Path("all.txt").write_text(names(range(8)), encoding="utf-8-sig")
    Path("names.txt").write_text("even\nodd\n", encoding="utf-8-sig")
    output = run("--list", "all.txt", "--names", "names.txt", *SHARES, "--strict")
    assert (output / "classes.txt").read_text(encoding="utf-8") == "even\nodd\n"


def test_spaces_about_a_class_make_no_other_class(here):
    rows = [f"of 2019/{i}.png,{'wren ' if i % 4 else ' wren'}" for i in range(0, 8, 2)]
    rows += [f"of 2019/{i}.png,robin" for i in range(1, 8, 2)]
    Path("table.csv").write_text("path,class\n" + "\n".join(rows) + "\n")
    assert (run("--index", "table.csv", *SHARES) / "classes.txt").read_text() == "robin\nwren\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "table.csv: expected the columns 'path' and 'label' or 'class', found no header"),
        ("path,klass\n", "found 'path', 'klass'"),
        ("path,label\n", "table.csv: expected a row an image, found none"),
        ("path,label\na.png\n", "table.csv:2: expected 2 fields"),
        ("path,label\na.png,0,1\n", "table.csv:2: expected 2 fields"),
        ("path,label\na.png,-1\n", "table.csv:2: expected a whole number as label, found '-1'"),
        ("path,label\na.png,9999999999\n", "table.csv:2: expected labels from 0 to 999999"),
        (f"path,label\na.png,{'9' * 5000}\n", "table.csv:2: expected a whole number as label"),
        ('path,class\na.png,"wr\nen"\nb.png,robin\n', "'wr.nen' has a line break in its name"),
        ("path,label\n,1\n", "table.csv:2: expected a path, found none"),
        ("path,class\na.png,\n", "the class with the label 0 has no name"),
        (
            "path,label,split\na.png,0,dev\nb.png,1,train\n",
            "expected train, val, test or no split, found 'dev'",
        ),
        (
            "path,label,class\na.png,0,cat\nb.png,0,dog\n",
            "the label 0 is the class 'cat' in one row and 'dog' in another",
        ),
        (
            "path,label,class\na.png,0,cat\nb.png,1,cat\n",
            "'cat' is the name of the labels 0 and 1",
        ),
        ("path,label\n\xff", "cannot be read as a table"),
    ],
)
def test_tables_that_are_none(here, text, message):
    Path("table.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(ToolError, match=message):
        run("--index", "table.csv", *SHARES)
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--list", "l", "--index", "l"], "expected one way, not several"),
        (["--names", "l"], "--names: expected beside lists"),
        (["--list", "none"], "none: no such file"),
        (["--list", "l", "--names", "n"], r"'of 2019/1.png' has the label 1, and n names 1 class"),
        (["--list", "l", "--names", "twice"], "'a' is the name of the labels 0 and 1"),
        (["--list", "l", "--group", "("], r"--group '\(': is no regular expression"),
        (["--list", "l", "--group", "x(.)"], "finds no group in the path 'of 2019/0.png'"),
        (["--list", "l", "--folds", "1"], "--folds 1 --fold 0: expected at least 2 folds"),
        (["--list", "l", "--folds", "3", "--fold", "3"], "one of them, from 0 to 2"),
        (["--list", "l", "--max-per-class", "0"], "--max-per-class: expected at least 1"),
    ],
)
def test_mistakes(here, options, message):
    Path("l").write_text(names(range(8)))
    Path("n").write_text("a\n")
    Path("twice").write_text("a\na\n")
    with pytest.raises(ToolError, match=message):
        run(*options, *SHARES)
    assert not Path("out").exists()
