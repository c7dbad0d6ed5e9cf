"""Splitting a folder of images: the lists, the counts, and what a bad folder is told."""

from __future__ import annotations

import csv
import json
import os
from collections import Counter
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from caffetools.classes import read_names
from caffetools.cli import ToolError
from caffetools.dataset import __main__ as dataset
from caffetools.dataset import splits
from caffetools.dataset.entry import Entry
from caffetools.files import sha256

PNG = cv2.imencode(".png", np.arange(12, dtype=np.uint8).reshape(3, 4))[1].tobytes()


def put(source: Path, *names: str, content: bytes = PNG) -> None:
    for name in names:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(content)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Three classes of ten, named so that sorting matters."""
    folder = tmp_path / "images"
    for name in ("zebra", "Ähre", "black cat"):
        put(folder, *(f"{name}/{i}.png" for i in range(10)))
    return folder


def split(source: Path, *options: str) -> Path:
    """Run the command, 3 to train, 2 to val and the rest to test unless told otherwise."""
    shares = {"--train": "3", "--val": "2", "--test": "rest"}
    shares.update(zip(options[::2], options[1::2], strict=True))
    output = source.parent / "out"
    arguments = [word for pair in shares.items() for word in pair]
    dataset.main(["--source", str(source), "--output", str(output), *arguments])
    return output


def rows(output: Path) -> list[dict[str, str]]:
    with (output / "manifest.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def lines(output: Path, name: str) -> list[str]:
    return (output / name).read_text(encoding="utf-8").splitlines()


# --- what is written --------------------------------------------------------------------


def test_lists_classes_and_manifest_agree(source: Path) -> None:
    output = split(source)
    assert lines(output, "classes.txt") == ["black cat", "zebra", "Ähre"]
    table = rows(output)
    assert len(table) == 30
    for name, each in (("train", 3), ("val", 2), ("test", 5)):
        listed = lines(output, f"{name}.txt")
        assert listed == [f"{r['path']} {r['label']}" for r in table if r["split"] == name]
        assert Counter(line.split()[-1] for line in listed) == {"0": each, "1": each, "2": each}
        assert all((source / line.rsplit(" ", 1)[0]).is_file() for line in listed)
    first = table[0]
    assert first["path"] == "black cat/0.png"
    assert first["sha256"] == sha256(source / "black cat/0.png")
    assert first["bytes"] == str(len(PNG))
    facts = json.loads((output / "summary.json").read_text(encoding="utf-8"))
    assert facts["classes"] == ["black cat", "zebra", "Ähre"]
    assert facts["totals"] == {"train": 9, "val": 6, "test": 15}
    assert facts["counts"]["val"] == {"black cat": 2, "zebra": 2, "Ähre": 2}
    assert (facts["images"], facts["dropped"], facts["unused"]) == (30, 0, 0)


def test_a_class_is_a_line_whatever_is_in_its_name(source: Path) -> None:
    """U+2028 and the form feed end a line for ``splitlines``, and none for Caffe."""
    odd = "two\u2028lines\x0cor three"
    put(source, *(f"{odd}/{i}.png" for i in range(10)))
    output = split(source)
    assert read_names(output / "classes.txt") == ["black cat", odd, "zebra", "Ähre"]


def test_bytes_hang_on_seed_alone(source: Path, tmp_path: Path) -> None:
    def files(output: Path) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in output.iterdir()}

    first = files(split(source))
    # Another folder, filled in another order.
    other = tmp_path / "elsewhere" / "images"
    for path in sorted(source.rglob("*.png"), reverse=True):
        put(other, str(path.relative_to(source)))
    assert files(split(other)) == first
    assert files(split(source, "--seed", "1"))["train.txt"] != first["train.txt"]


def test_a_further_class_leaves_the_others_split_alone(source: Path) -> None:
    before = {r["path"]: r["split"] for r in rows(split(source))}
    put(source, *(f"ant/{i}.png" for i in range(6)))
    after = {r["path"]: r["split"] for r in rows(split(source))}
    assert before == {path: name for path, name in after.items() if not path.startswith("ant/")}


def test_what_no_split_takes_is_kept_in_the_manifest(source: Path) -> None:
    output = split(source, "--test", "4")
    assert Counter(row["split"] for row in rows(output)) == {
        "train": 9,
        "val": 6,
        "test": 12,
        "": 3,
    }
    assert json.loads((output / "summary.json").read_text())["unused"] == 3


def test_an_empty_share_makes_an_empty_list(source: Path) -> None:
    assert lines(split(source, "--val", "0"), "val.txt") == []


# --- how it is split --------------------------------------------------------------------

fractions = st.integers(1, 20).map(lambda n: Fraction(n, 20))
shares = st.tuples(*[st.one_of(st.none(), st.integers(0, 30), fractions)] * 3)


@given(shares, st.integers(1, 60))
def test_sizes_are_what_was_asked(asked: tuple[splits.Share, ...], images: int) -> None:
    sizes = splits.split_sizes(asked, images)
    for share, size in zip(asked, sizes, strict=True):
        if isinstance(share, Fraction):
            assert abs(size - share * images) < 1
        elif share is not None:
            assert size == share
    if asked.count(None) == 1:
        assert sum(sizes) == images


def test_fractions_are_rounded_where_splits_meet() -> None:
    parts = (Fraction("0.15"), Fraction("0.15"), Fraction("0.7"))
    assert splits.split_sizes(parts, 10) == [2, 1, 7]  # ends at 1.5, 3 and 10


@given(st.integers(1, 19), st.integers(1, 19), st.integers(0, 200))
def test_fractions_that_add_up_to_one_use_all(a: int, b: int, images: int) -> None:
    cuts = sorted((a, b))
    parts = (Fraction(cuts[0], 20), Fraction(cuts[1] - cuts[0], 20), Fraction(20 - cuts[1], 20))
    assert sum(splits.split_sizes(parts, images)) == images


@given(st.sets(st.text(min_size=1, max_size=8), min_size=3, max_size=20), st.integers(0, 2**40))
def test_split_is_a_partition_whatever_the_order(names: set[str], seed: int) -> None:
    entries = [Entry(name, 0, "class") for name in names if name.isprintable()]
    if len(entries) < 3:
        return
    asked = splits.Asked((1, 1, None), seed)
    done = splits.split(entries, asked)
    assert [entry.path for entry in done] == [entry.path for entry in entries]
    assert Counter(e.split for e in done) == {"train": 1, "val": 1, "test": len(entries) - 2}
    assert done == splits.split(entries[::-1], asked)[::-1]


@pytest.mark.parametrize(
    ("text", "share"),
    [("10", 10), ("0", 0), ("1", 1), ("1.0", Fraction(1)), ("0.2", Fraction(1, 5)), ("rest", None)],
)
def test_shares(text: str, share: splits.Share) -> None:
    parsed = splits.parse_share("--train", text)
    assert parsed == share
    assert type(parsed) is type(share)


@pytest.mark.parametrize("text", ["-1", "1.5", "0.0", "-0.2", "many", "", "nan", "1/0"])
def test_a_share_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ToolError, match=f"--val: expected a number .* found '{text}'"):
        splits.parse_share("--val", text)


# --- images that are left out -----------------------------------------------------------


def test_unreadable_images_are_named_and_the_rest_goes_on(
    source: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(source, "zebra/text.jpg", content=b"not an image")
    put(source, "zebra/nothing.png", content=b"")
    put(source, "zebra/cut.png", content=PNG[:40])
    put(source, "zebra/line\nbreak.png")
    put(source, "zebra/notes.txt", "zebra/.hidden.png", "zebra/.DS_Store", content=b"no image")
    (source / "zebra/folder.png").mkdir()
    os.mkfifo(source / "zebra/pipe.png")
    (source / "zebra/loop.png").symlink_to("loop.png")
    (source / "zebra/outside.png").symlink_to("/etc/passwd")
    output = split(source)
    dropped = {r["path"]: r["dropped"] for r in rows(output) if r["dropped"]}
    assert dropped == {
        "zebra/text.jpg": "cannot be decoded as an image",
        "zebra/nothing.png": "is empty",
        "zebra/cut.png": "cannot be decoded as an image",
        "zebra/line\nbreak.png": "has a line break in its name",
        "zebra/folder.png": "is not a regular file",
        "zebra/pipe.png": "is not a regular file",
        "zebra/loop.png": "is not a regular file",
        "zebra/outside.png": "leads out of the source folder",
    }
    assert all(repr(path) in caplog.text for path in dropped)
    assert len(rows(output)) == 38
    facts = json.loads((output / "summary.json").read_text())
    assert (facts["dropped"], facts["totals"]["test"]) == (8, 15)


def test_a_name_that_is_not_utf8_is_dropped(source: Path) -> None:
    name = os.fsencode(source / "zebra") + b"/caf\xe9.png"
    Path(os.fsdecode(name)).write_bytes(PNG)
    (row,) = [row for row in rows(split(source)) if row["dropped"]]
    assert row["dropped"] == "has a name that is not UTF-8"
    assert row["path"] == "zebra/caf\\udce9.png"


def test_extensions_as_people_write_them(source: Path) -> None:
    put(source, "zebra/A.PNG")
    for extension in (".jpg", ".JPEG", ".bmp", ".tif", ".webp", ".ppm"):
        image = cv2.imencode(extension, np.zeros((4, 4, 3), np.uint8))[1]
        put(source, f"zebra/b{extension}", content=image.tobytes())
    output = split(source)
    assert len(rows(output)) == 37
    assert not [row for row in rows(output) if row["dropped"]]


# --- folders that cannot be split -------------------------------------------------------


def refusal(source: Path, *options: str) -> str:
    with pytest.raises(ToolError) as caught:
        split(source, *options)
    assert not (source.parent / "out").exists()
    return str(caught.value)


def test_source_missing(source: Path) -> None:
    assert "expected a folder with one sub-folder a class, found nothing" in refusal(source / "no")


def test_source_is_a_file(source: Path) -> None:
    assert "found a file" in refusal(source / "zebra" / "0.png")


def test_images_without_class_folders(tmp_path: Path) -> None:
    put(tmp_path / "flat", "a.png", "b.jpg")
    assert "found no sub-folder and 2 images" in refusal(tmp_path / "flat")


def test_one_class_only(tmp_path: Path) -> None:
    put(tmp_path / "one", "cat/a.png", ".git/b.png")
    assert "expected at least two classes, found one, 'cat'" in refusal(tmp_path / "one")


def test_empty_class_folder(source: Path) -> None:
    (source / "unicorn").mkdir()
    assert "expected images of class 'unicorn', found none; add" in refusal(source)


def test_class_whose_images_lie_deeper(source: Path) -> None:
    put(source, "nested/train/a.png")
    assert "'nested', found none and 1 sub-folders" in refusal(source)


def test_class_without_a_readable_image(source: Path) -> None:
    put(source, "ghost/a.png", content=b"boo")
    message = refusal(source)
    assert "class 'ghost': none of its 1 images" in message
    assert "'ghost/a.png' cannot be decoded" in message


def test_more_asked_than_found(source: Path) -> None:
    put(source, "few/a.png", "few/b.png")
    message = refusal(source)
    assert "class 'few': asked for train 3, val 2, test the rest, 5 in all; found 2" in message


def test_more_asked_than_found_without_a_rest(source: Path) -> None:
    message = refusal(source, "--test", "9")
    assert "class 'black cat': asked for train 3, val 2, test 9, 14 in all; found 10" in message


def test_nothing_left_for_the_rest(source: Path) -> None:
    put(source, *(f"five/{i}.png" for i in range(5)))
    assert "class 'five'" in (message := refusal(source))
    assert "which leaves none for test; found 5" in message


def test_two_rests(source: Path) -> None:
    assert "expected 'rest' for one of them" in refusal(source, "--train", "rest")


def test_class_folder_that_leads_out(source: Path, tmp_path: Path) -> None:
    put(tmp_path / "private", "a.png")
    (source / "link").symlink_to(tmp_path / "private")
    assert "a link that leads out of the source folder" in refusal(source)


def test_class_folder_in_a_loop_is_no_class(source: Path) -> None:
    (source / "again").symlink_to(source / "again")
    assert "again" not in lines(split(source), "classes.txt")


def test_output_in_the_source(source: Path) -> None:
    with pytest.raises(ToolError, match="lies in the source folder"):
        dataset.main(
            f"--source {source} --output {source / 'out'} --train 1 --val 1 --test 1".split()
        )
    assert not (source / "out").exists()
