"""Boxes in a table: what is read of it, and what of one that is none."""

from __future__ import annotations

from pathlib import Path

import pytest
import scenes
from scenes import make, put

from caffetools.cli import ToolError
from caffetools.detection import boxes_csv

ONLY = ("--train", "rest", "--val", "0", "--test", "0")


def test_images_come_in_the_order_of_their_paths_whatever_that_of_the_rows(tmp_path: Path):
    scenes.write_csv(tmp_path / "source")
    table = tmp_path / "source" / "boxes.csv"
    header, *rows = table.read_text().splitlines(keepends=True)
    put(table, header + "".join(reversed(rows)))
    made = make("csv", tmp_path / "source", "--keep-empty")
    assert [Path(picture.path).stem for picture in made.pictures] == [
        name for _, name, _ in scenes.numbered()
    ]
    first = [box[:2] for box in scenes.SCENE["train"][0]]
    assert made.boxes()["000"] == first[::-1]


def csv_folder(tmp_path: Path, rows: str) -> Path:
    source = tmp_path / "source"
    scenes.image(source / "a.png")
    scenes.image(source / "sub" / "b.png", 1)
    put(source / "boxes.csv", rows)
    return source


def test_a_table_with_groups_and_difficult_boxes_counted_from_one(tmp_path: Path):
    rows = (
        "note,path,class,x1,y1,x2,y2,group,difficult\r\n"
        '"a, b",./a.png,cat,1,1,10,20.5,g,1\r\n'
        ",sub//b.png, dog ,2,3,4,5,,0\r\n"
    )
    made = make("csv", csv_folder(tmp_path, rows), "--first-pixel", "1", *ONLY)
    assert made.boxes() == {"a": [("cat", (0, 0, 9, 19.5))], "b": [("dog", (1, 2, 3, 4))]}
    assert [(p.path, p.group) for p in made.pictures] == [("a.png", "g"), ("sub/b.png", "")]
    assert made.pictures[0].boxes[0].difficult


HEADER = "path,class,x1,y1,x2,y2,split\n"


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ("", "no 'path'"),
        ("path,class,x1,y1,x2\n", r"boxes\.csv:1: .* no 'y2'"),
        (HEADER + "a.png,cat,1,2,3\n", r":2: expected 7 fields"),
        (HEADER + "a.png,cat,1,2,3,4,dev\n", r":2: expected train, val, test"),
        (HEADER + "a.png,cat,1,2,3,4,val\na.png,cat,1,2,3,4,test\n", r":3: 'a.png' has split"),
        (HEADER + ",cat,1,2,3,4,\n", r":2: expected a path"),
        (HEADER + f"a.png,{'c' * 200_000},1,2,3,4,\n", "cannot be read as a table"),
    ],
)
def test_a_table_that_is_none_ends_in_a_sentence(rows: str, told: str, tmp_path: Path):
    with pytest.raises(ToolError, match=told):
        boxes_csv.read(csv_folder(tmp_path, rows))


@pytest.mark.parametrize(
    "path", ["../b.png", "sub/../a.png", "/etc/passwd", "absent.png", "sub", "a.png\0", "ü.x"]
)
def test_a_path_of_no_image_is_found(path: str, tmp_path: Path):
    scenes.image(tmp_path / "b.png", 2)
    source = csv_folder(tmp_path, f"{HEADER}a.png,cat,1,2,3,4,\n{path},cat,1,2,3,4,\n")
    made = make("csv", source, *ONLY)
    assert ("error", "image", "boxes.csv") in made.checks()
    assert [p.path for p in made.pictures if not p.dropped] == ["a.png"]
