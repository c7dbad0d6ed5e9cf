"""caffetools.stored_images parquet: shards as Hugging Face's hub has them, made by pyarrow."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from test_stored_images import bring, index, refused

from caffetools.cli import ToolError
from caffetools.stored_images import parquet

pyarrow = pytest.importorskip("pyarrow", reason="pip install pyarrow, to read Parquet")
pq = pytest.importorskip("pyarrow.parquet", reason="pyarrow has no Parquet here")

NAMES = ["tench, Tinca tinca", "great white", "\u00e9toile"]
IMAGE = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])


def encoded(number: int, ending: str = ".png") -> bytes:
    image = np.random.default_rng(number).integers(0, 256, (6, 5, 3), dtype=np.uint8)
    return bytes(cv2.imencode(ending, image)[1].tobytes())


def features(**columns: Any) -> dict[bytes, bytes]:
    return {b"huggingface": json.dumps({"info": {"features": columns}}).encode()}


CLASS_LABEL = {"names": NAMES, "_type": "ClassLabel"}
USUAL = features(image={"_type": "Image"}, label=CLASS_LABEL)


def write(
    path: Path,
    name: str,
    images: Sequence[Any],
    labels: Sequence[Any],
    metadata: dict[bytes, bytes] | None = USUAL,
    columns: Sequence[str] = ("image", "label"),
    **more: Any,
) -> None:
    """A shard; bytes among ``images`` get a path that must not be followed."""
    file = path / "source" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    column = [
        {"bytes": each, "path": "../../evil.sh"} if isinstance(each, bytes) else each
        for each in images
    ]
    kind = pyarrow.string() if isinstance(labels[0], str) else pyarrow.int64()
    table = pyarrow.table(
        [pyarrow.array(column, IMAGE), pyarrow.array(labels, kind)], names=list(columns)
    )
    pq.write_table(table.replace_schema_metadata(metadata), file, **more)


def test_the_very_files_come_out_with_the_splits_of_the_shards(tmp_path: Path) -> None:
    for shard in range(2):
        numbers = range(shard * 100, shard * 100 + 100)  # more than are read at once
        write(
            tmp_path,
            f"data/train-0000{shard}-of-00002.parquet",
            [encoded(number) for number in numbers],
            [number % 3 for number in numbers],
            row_group_size=30,
        )
    for split, number in (("validation", 300), ("test", 301)):
        write(tmp_path, f"data/{split}-00000-of-00001.parquet", [encoded(number)], [number % 3])
    out = bring(tmp_path, "parquet")
    assert sorted(folder.name for folder in out.iterdir()) == sorted(NAMES)
    rows = index(tmp_path)
    assert [row["split"] for row in rows] == ["train"] * 200 + ["val", "test"]
    for number, row in zip([*range(200), 300, 301], rows, strict=True):
        assert int(row["label"]) == number % 3
        assert row["class"] == NAMES[number % 3]
        assert (out / row["path"]).read_bytes() == encoded(number)
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 202 + 1 + 4


@pytest.mark.parametrize("kind", [".jpg", ".png", ".bmp", ".webp", ".tif"])
def test_a_file_is_called_by_its_content(tmp_path: Path, kind: str) -> None:
    write(tmp_path, "train.parquet", [encoded(1, kind), b"none at all", b""], [0, 1, 1])
    bring(tmp_path, "parquet")
    assert [Path(row["path"]).suffix for row in index(tmp_path)] == [kind, ".jpg", ".jpg"]


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train-00000-of-00001.parquet", "train"),
        ("test.parquet", "test"),
        ("cifar10-test.parquet", "test"),
        ("default/validation/0000.parquet", "val"),
        ("train/deep/part.parquet", "train"),
        ("00000-of-00001.parquet", ""),
        ("extra-00000-of-00001.parquet", ""),
        ("latest.parquet", ""),
    ],
)
def test_what_tells_the_split(tmp_path: Path, name: str, split: str) -> None:
    write(tmp_path, name, [encoded(0), encoded(1)], [0, 1])
    bring(tmp_path, "parquet")
    assert {row["split"] for row in index(tmp_path)} == {split}


def test_columns_are_those_that_the_metadata_tells(tmp_path: Path) -> None:
    told = features(img={"_type": "Image"}, fine_label=CLASS_LABEL, other={"_type": "Value"})
    images = [encoded(0), encoded(1)]
    write(tmp_path, "train.parquet", images, [2, 0], told, ("img", "fine_label"))
    bring(tmp_path, "parquet")
    assert [row["class"] for row in index(tmp_path)] == [NAMES[2], NAMES[0]]


def test_without_metadata_classes_are_numbers_or_told(tmp_path: Path) -> None:
    write(tmp_path, "train.parquet", [encoded(0), encoded(1)], [2, 10], None, ("photo", "kind"))
    refused(tmp_path, "parquet", "expected one column of the type Image, found none .* 'photo'")
    columns = ("--image", "photo", "--label", "kind")
    bring(tmp_path, "parquet", *columns)
    assert [row["class"] for row in index(tmp_path)] == ["02", "10"]
    (tmp_path / "names.txt").write_text("".join(f"c{n}\n" for n in range(11)))
    other = tmp_path / "other"
    other.mkdir()
    (other / "source").symlink_to(tmp_path / "source")
    bring(other, "parquet", *columns, "--names", str(tmp_path / "names.txt"))
    assert [row["class"] for row in index(other)] == ["c2", "c10"]


def test_bytes_alone_are_images_as_well(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    images = pyarrow.array([encoded(0), encoded(1)], pyarrow.binary())
    pq.write_table(
        pyarrow.table({"image": images, "label": pyarrow.array([0, 1], pyarrow.int32())}),
        tmp_path / "source" / "train.parquet",
    )
    out = bring(tmp_path, "parquet")
    assert (out / "1" / "train.000001.png").read_bytes() == encoded(1)


@pytest.mark.parametrize(
    ("images", "labels", "complaint"),
    [
        ([b"x", None], [0, 1], "row 1 holds no bytes of an image, found NoneType"),
        ([b"x", {"bytes": None, "path": "/etc/passwd"}], [0, 1], "only '/etc/passwd' as its path"),
        ([b"x", b"y"], [0, -1], "row 1 has the label -1 in 'label'"),
        ([b"x", b"y"], [None, 1], "row 0 has the label None"),
        ([b"x", b"y"], ["a", "b"], "row 0 has the label 'a'"),
        ([b"x", b"y"], [0, 3], "its classes: expected a line for each label up to 3, found 3"),
    ],
)
def test_hostile_rows(tmp_path: Path, images: list[Any], labels: list[Any], complaint: str) -> None:
    write(tmp_path, "train.parquet", images, labels)
    refused(tmp_path, "parquet", complaint)


@pytest.mark.parametrize("name", ["../b", "b\nc", "b\ud800", "b\0"])
def test_names_of_classes_that_no_folder_should_have(tmp_path: Path, name: str) -> None:
    told = features(image={"_type": "Image"}, label={"names": ["a", name], "_type": "ClassLabel"})
    write(tmp_path, "train.parquet", [b"x", b"y"], [0, 1], told)
    complaint = f"its classes:2: {name!r} cannot be the name of a class folder"
    refused(tmp_path, "parquet", re.escape(complaint))


@pytest.mark.parametrize(
    "metadata",
    [
        {b"huggingface": b"{"},
        {b"huggingface": b"[]"},
        {b"huggingface": b"[" * 100_000},
        {b"huggingface": b'{"info": {"features": [1]}}'},
        {b"huggingface": b'{"info": {"features": {"image": 1, "label": {"names": 7}}}}'},
        {b"huggingface": b"\xff\xfe"},
        {b"other": b"1"},
    ],
)
def test_metadata_of_another_form_tell_nothing(tmp_path: Path, metadata: Any) -> None:
    write(tmp_path, "train.parquet", [encoded(0), encoded(1)], [0, 1], metadata)
    bring(tmp_path, "parquet")
    assert [row["class"] for row in index(tmp_path)] == ["0", "1"]


def test_unfit_columns_are_told(tmp_path: Path) -> None:
    both = features(image={"_type": "Image"}, fine=CLASS_LABEL, coarse=CLASS_LABEL)
    write(tmp_path, "train.parquet", [b"x", b"y"], [0, 1], both, ("image", "fine"))
    refused(tmp_path, "parquet", "type ClassLabel, found 'fine', 'coarse' .* by --label")
    refused(tmp_path, "parquet", "expected a column 'coarse', found", "--label", "coarse")
    write(tmp_path, "test.parquet", [b"x", b"y"], [0, 1])
    refused(tmp_path, "parquet", "test.parquet: has other columns or classes than|expected a col",
            "--label", "fine")  # fmt: skip


def test_shards_that_are_missing_or_none(tmp_path: Path) -> None:
    write(tmp_path, "train-00000-of-00003.parquet", [b"x", b"y"], [0, 1])
    write(tmp_path, "train-00002-of-00003.parquet", [b"x", b"y"], [0, 1])
    refused(tmp_path, "parquet", "expected 3 shards of 'train', found 2")
    for path in (tmp_path / "source").iterdir():
        path.unlink()
    refused(tmp_path, "parquet", "expected files that end in .parquet, found none")


def test_every_cut_is_told(tmp_path: Path) -> None:
    write(tmp_path, "train.parquet", [encoded(n) for n in range(40)], [n % 3 for n in range(40)])
    path = tmp_path / "source" / "train.parquet"
    whole = path.read_bytes()
    for length in range(0, len(whole), len(whole) // 25):
        path.write_bytes(whole[:length])
        refused(tmp_path, "parquet", "cannot be read as Parquet: .*; bring it anew")


def test_a_small_file_does_not_become_a_large_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One image of zeros that a thousand rows share by Parquet's dictionary."""
    monkeypatch.setattr("caffetools.compressed.SMALL", 0)
    write(tmp_path, "train.parquet", [bytes(100_000)] * 1000, [0, 1] * 500)
    refused(tmp_path, "parquet", "unpacks to more than 200 times its own size")


BRING = """
import re, sys
from pathlib import Path
from caffetools.cli import ToolError
from caffetools.stored_images import __main__ as command
try:
    command.main(sys.argv[1:])
except ToolError as error:
    print(error)
print(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
"""


def test_an_image_that_many_rows_share_is_held_a_few_times_at_most(tmp_path: Path) -> None:
    """24 MB of zeros in 2 kB, for 64 rows, which would take 1.5 GB and as much again in Python."""
    shared = pyarrow.DictionaryArray.from_arrays([0] * 64, [bytes(24 << 20)])
    table = pyarrow.table({"image": shared, "label": [0, 1] * 32})
    file = tmp_path / "source" / "train.parquet"
    file.parent.mkdir()
    pq.write_table(
        *(table, file), **{"compression": "zstd", "store_schema": False},
        dictionary_pagesize_limit=1 << 30,
    )  # fmt: skip
    assert file.stat().st_size < 4096
    places = ["--source", str(file.parent), "--output", str(tmp_path / "out")]
    done = subprocess.run(
        [sys.executable, "-c", BRING, "parquet", *places, "--index", str(tmp_path / "i.csv")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    complaint, most = done.stdout.splitlines()
    assert "unpacks to more than 200 times its own size" in complaint
    assert int(most) < 500_000


def test_without_pyarrow_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    write_nothing = tmp_path / "source"
    write_nothing.mkdir()
    with pytest.raises(ToolError, match="needs pyarrow, which is not installed; pip install"):
        parquet.read(write_nothing, None, None, None, "")
