"""The dataset command on BVLC's interpreter, with its older Python, OpenCV and Pillow."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import pytest
import test_odd_images
from bvlc import Build

from caffetools.dataset import __main__ as dataset

pytestmark = pytest.mark.oracle

# What that OpenCV (4.5) cannot read, or does not turn: EXIF entries of PNGs are unknown to it.
UNKNOWN_THERE = {"moving.gif", "turned.png"}


def files() -> dict[str, bytes | str]:
    """Odd images of one class and others of two, a list and a table."""
    found: dict[str, bytes | str] = {
        f"images/{folder}/{name}": content
        for folder, some in (("fine", test_odd_images.FINE), ("bad", test_odd_images.BAD))
        for name, (content, *_) in some.items()
        if name not in UNKNOWN_THERE
    }
    found["images/bad/photo.jpg"] = test_odd_images.PHOTO
    found["images/bad/again.jpg"] = test_odd_images.PHOTO
    listed = [(path.removeprefix("images/"), path.split("/")[1]) for path in found]
    found["list.txt"] = "".join(f"{path} {name == 'bad':d}\n" for path, name in listed)
    found["table.csv"] = "path,class,group\n" + "".join(
        f'"{path}",{name},{i % 7}\n' for i, (path, name) in enumerate(listed)
    )
    return found


@pytest.mark.parametrize(
    "options",
    [
        ["--train", "0.5", "--val", "0", "--test", "rest"],
        ["--list", "list.txt", "--train", "0.5", "--val", "0", "--test", "rest", "--seed", "3"],
        ["--index", "table.csv", "--train", "0.5", "--val", "0", "--test", "rest"],
        ["--train", "0", "--val", "0", "--test", "0", "--folds", "3", "--fold", "1"],
    ],
)
def test_both_builds_write_the_same(
    bvlc: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: Sequence[str]
):
    monkeypatch.chdir(tmp_path)
    for name, content in files().items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    arguments = ["--source", "images", "--output", "out", *options]
    dataset.main(arguments)
    ours = {path.name: path.read_bytes() for path in Path("out").iterdir()}
    with bvlc.workplace(files()) as place:
        place.module("caffetools.dataset", *arguments)
        theirs = {path.name: path.read_bytes() for path in (place.path / "out").iterdir()}
    for name in ("manifest.csv", "duplicates.csv"):
        mine, other = _rows(ours.pop(name)), _rows(theirs.pop(name))
        assert len(mine) >= 2, name
        assert mine == other, name
    assert ours == theirs


def _rows(table: bytes) -> list[dict[str, object]]:
    """The rows without what hangs on the decoder: its words, and the last digit of a distance."""
    rows = csv.DictReader(table.decode().splitlines())
    return [{**row, "dropped": bool(row.get("dropped")), "rms": ""} for row in rows]
