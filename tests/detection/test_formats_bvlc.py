"""Annotations read by BVLC's interpreter, of Python 3.9 and older libraries: the same bytes."""

from __future__ import annotations

from pathlib import Path

import pytest
import scenes
from bvlc import Build

from caffetools.detection import dataset

MISTAKES = "000.png,cat,9,9,1,1,train\n000.png,cat,-1,3,20,20,train\n000.png,dog,1,3,nan,20,train\n"


@pytest.mark.oracle
@pytest.mark.parametrize("format_", scenes.WRITERS)
def test_both_interpreters_write_the_same(bvlc: Build, format_: str, tmp_path: Path):
    scenes.WRITERS[format_](tmp_path / "source")
    if format_ == "csv":
        table = tmp_path / "source" / "boxes.csv"
        scenes.put(table, table.read_text(encoding="utf-8") + MISTAKES)
    with bvlc.workplace({"source": tmp_path / "source"}) as place:
        arguments = ["--format", format_, "--source", "source", "--output", "out"]
        place.module("caffetools.detection.dataset", *arguments)
        theirs = {path.name: path.read_bytes() for path in (place.path / "out").iterdir()}
    source, output = str(tmp_path / "source"), str(tmp_path / "out")
    dataset.main(["--format", format_, "--source", source, "--output", output])
    ours = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert len(ours) == 5
    assert ours == theirs
