"""The manifest of boxes and the table of detections: written, read, and damaged."""

from __future__ import annotations

from pathlib import Path

import pytest

from caffetools.cli import ToolError
from caffetools.detection import detections, manifest
from caffetools.detection.detections import Detection
from caffetools.detection.manifest import Box, Picture

CAT = Box("cat", (10, 20.5, 109, 219), difficult=True, source="a.xml:12")
PICTURES = [
    Picture("Bilder/ä b.jpg", (CAT, Box("dog", (0, 0, 1, 1), crowd=True)), "train", "g", 500, 375),
    Picture("none.jpg", dropped="cannot be decoded"),
]
FOUND = [Detection('a "b".jpg', "cat, big", 0.5, (0.25, 1, 2, 3)), Detection("c", "d", 1, (0,) * 4)]


def test_a_manifest_is_read_as_it_was_written(tmp_path: Path):
    manifest.write(tmp_path / "manifest.jsonl", PICTURES)
    assert manifest.read(tmp_path / "manifest.jsonl") == PICTURES


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        '{"path": "a.jpg"}',
        '{"path": "a.jpg", "boxes": [], "colour": 1}',
        '{"path": "a.jpg", "boxes": [{"class": "cat", "corners": [1, 2, 3]}]}',
        '{"path": "a.jpg", "boxes": [{"class": "cat", "corners": [1, 2, 3, "x"]}]}',
        '{"path": "a.jpg", "boxes": [{"class": ["cat"], "corners": [1, 2, 3, 4]}]}',
        '{"path": "a.jpg", "boxes": [{"class": "cat", "corners": [1, 2, 3, 4], "crowd": 1}]}',
        '{"path": "a.jpg", "boxes": [], "width": "9"}',
        '{"path": 3, "boxes": []}',
        "[" * 100_000,
    ],
)
def test_a_damaged_line_of_a_manifest_is_named(line: str, tmp_path: Path):
    path = tmp_path / "manifest.jsonl"
    manifest.write(path, PICTURES)
    path.write_text(path.read_text(encoding="utf-8") + line + "\n", encoding="utf-8")
    with pytest.raises(ToolError, match=r"manifest\.jsonl:3: expected an image and its boxes"):
        manifest.read(path)


def test_detections_are_read_as_they_were_written(tmp_path: Path):
    detections.write(tmp_path / "detections.csv", FOUND)
    assert detections.read(tmp_path / "detections.csv") == FOUND


@pytest.mark.parametrize("row", ["a.jpg,cat,0.5,1,2,3", "a.jpg,cat,high,1,2,3,4", "a.jpg"])
def test_a_damaged_row_of_detections_is_named(row: str, tmp_path: Path):
    path = tmp_path / "detections.csv"
    detections.write(path, FOUND)
    path.write_text(path.read_text(encoding="utf-8") + row + "\n", encoding="utf-8")
    with pytest.raises(ToolError, match=r"detections\.csv:4: expected path,class,score"):
        detections.read(path)


def test_a_file_that_is_absent_or_another_is_named(tmp_path: Path):
    with pytest.raises(ToolError, match="none: cannot be read as a manifest"):
        manifest.read(tmp_path / "none")
    (tmp_path / "other.csv").write_text("path,label\n")
    with pytest.raises(ToolError, match=r"other\.csv:1: expected the columns path,class,score"):
        detections.read(tmp_path / "other.csv")
