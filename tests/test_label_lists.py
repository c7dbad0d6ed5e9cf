"""Lists with several labels: an LMDB of images, and one of label vectors beside it."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import lmdb
import numpy as np
import pytest
from bvlc import Build

import caffe
from caffe.proto import caffe_pb2
from caffetools import lmdb as tool
from caffetools.cli import ToolError
from caffetools.lists import read_vectors

LABELS = ["1 0 -1", "0.5 1e-3 .25", "0 0 1", "+2 3. 4", "1 1 1", "16777217 1e38 -0"]
NAMES = ["a.png", "b 1/c.png", "d 2.png", "e.png", "ü.png", "f.png"]
VALUES = np.array([line.split() for line in LABELS], np.float64).astype(np.float32)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    random = np.random.RandomState(0)
    for name in NAMES:
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), random.randint(0, 256, (12, 10, 3)).astype(np.uint8))
    lines = [f"{name} {labels}\n" for name, labels in zip(NAMES, LABELS, strict=True)]
    (tmp_path / "list.txt").write_text("".join(lines), encoding="utf-8")
    return tmp_path / "images"


def convert(root: Path, *options: str) -> Path:
    output = root.parent / "db"
    places = ["--list", str(root.parent / "list.txt"), "--root", str(root)]
    tool.main(["convert", *places, "--output", str(output), "--labels", "3", *options])
    return output


def records(database: Path) -> dict[str, caffe_pb2.Datum]:
    with lmdb.open(str(database), readonly=True, lock=False) as environment:
        found = list(environment.begin().cursor())
    return {key.decode(): caffe_pb2.Datum.FromString(value) for key, value in found}


@pytest.mark.parametrize("options", [[], ["--shuffle", "--seed", "3"], ["--encode", "png"]])
def test_labels_lie_under_the_keys_of_their_images(root: Path, options: list[str]):
    images = records(convert(root, *options))
    labels = records(root.parent / "db_labels")
    assert list(images) == list(labels)
    found = {key.split("_", 1)[1]: datum for key, datum in labels.items()}
    assert (list(found) == NAMES) == ("--shuffle" not in options)
    for name, values in zip(NAMES, VALUES, strict=True):
        datum = found[name]
        assert (datum.channels, datum.height, datum.width, datum.label) == (3, 1, 1, 0)
        assert not datum.data
        np.testing.assert_array_equal(np.array(datum.float_data, np.float32), values)
    assert {datum.label for datum in images.values()} == {0}
    facts = json.loads((root.parent / "db_labels.json").read_text())
    assert (facts["entries"], facts["channels"], facts["height"], facts["width"]) == (6, 3, 1, 1)
    assert json.loads((root.parent / "db.json").read_text())["entries"] == 6


def test_images_are_those_of_a_list_with_one_label(root: Path):
    several = (convert(root) / "data.mdb").read_bytes()
    lines = "".join(f"{name} 0\n" for name in NAMES)
    (root.parent / "list.txt").write_text(lines, encoding="utf-8")
    places = ["--list", str(root.parent / "list.txt"), "--root", str(root)]
    tool.main(["convert", *places, "--output", str(root.parent / "one")])
    assert (root.parent / "one" / "data.mdb").read_bytes() == several
    assert not (root.parent / "one_labels").exists()


def test_a_label_that_is_no_whole_number_is_one_as_well(tmp_path: Path):
    (tmp_path / "list").write_text("a.png 3.25\nb.png -1\n")
    found = read_vectors(tmp_path / "list", 1)
    assert [one.labels.tolist() for one in found] == [[3.25], [-1.0]]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("a.png 1 2", "found 2 numbers at the end of 'a.png 1 2'"),
        ("a.png 1 2 3 4", "found 4 numbers at the end of 'a.png 1 2 3 4'"),
        ("a.png", "found 0 numbers"),
        ("", "found 0 numbers"),
        ("1 2 3", "found 2 numbers"),
        (" 1 2 3", "found 3 numbers"),
        ("a.png 1 2 nan", "found 0 numbers"),
        ("a.png 1 inf 3", "found 1 numbers"),
        ("a.png 1 0x2 3", "found 1 numbers"),
        ("a.png 1,2,3", "found 0 numbers"),
        ("a.png 1  2 3", "found 2 numbers"),
        ("a.png 1\t2 3", "found 1 numbers"),
        ("a.png \u0661 2 3", "found 2 numbers"),
        ("a\0.png 1 2 3", "found 3 numbers"),
        ("a.png 1 2 1e39", "the label 1e39 is beyond what float32 holds"),
        ("a.png 1 2 1" + "0" * 400, "is beyond what float32 holds"),
    ],
)
def test_lines_without_so_many_labels_are_told(tmp_path: Path, line: str, said: str):
    (tmp_path / "list").write_text(f"b.png 1 2 3\n{line}\nc.png 1 2 3\n", encoding="utf-8")
    with pytest.raises(ToolError) as caught:
        read_vectors(tmp_path / "list", 3)
    assert str(caught.value).startswith(f"{tmp_path / 'list'}:2: ")
    assert said in str(caught.value)
    assert len(str(caught.value)) < 600


def test_line_ends_of_windows_are_none_of_the_label(tmp_path: Path):
    (tmp_path / "list").write_bytes(b"a.png 1 2\r\nb.png 3 4\r\n")
    assert [one.labels.tolist() for one in read_vectors(tmp_path / "list", 2)] == [[1, 2], [3, 4]]


def test_all_is_written_or_nothing(root: Path):
    convert(root)
    before = {p: p.read_bytes() for p in root.parent.rglob("*") if p.is_file()}
    (root / "f.png").write_bytes(b"none")
    with pytest.raises(ToolError, match=r"f\.png"):
        convert(root, "--shuffle")
    (root / "f.png").write_bytes(before[root / "f.png"])
    assert {p: p.read_bytes() for p in root.parent.rglob("*") if p.is_file()} == before


def test_a_folder_of_the_users_is_not_replaced(root: Path):
    (root.parent / "db_labels").mkdir()
    (root.parent / "db_labels" / "mine.txt").write_text("")
    with pytest.raises(ToolError, match=r"db_labels: will not be replaced, since .*'mine\.txt'"):
        convert(root)
    assert not (root.parent / "db").exists()


def test_no_label_vectors_of_other_images_stay_beside(root: Path):
    output = convert(root)
    before = (output / "data.mdb").read_bytes()
    whole = root.parent / "whole.txt"
    whole.write_text("e.png 0\n")
    places = ["--list", str(whole), "--root", str(root), "--output", str(output)]
    with pytest.raises(ToolError, match="db_labels: has label vectors of an earlier run"):
        tool.main(["convert", *places])
    assert (output / "data.mdb").read_bytes() == before


def test_there_is_at_least_one_label(root: Path):
    with pytest.raises(ToolError, match="--labels: expected at least 1, found 0"):
        convert(root, "--labels", "0")


READ = """
import numpy, caffe
net = caffe.Net("net.prototxt", caffe.TEST)
found = {}
for i in range(3):
    net.forward()
    for name in net.blobs:
        found["%s.%d" % (name, i)] = net.blobs[name].data.copy()
numpy.savez("out.npz", **found)
"""
NET = """
layer { name: "i" type: "Data" top: "data"
  data_param { source: "db" batch_size: 4 backend: LMDB } }
layer { name: "l" type: "Data" top: "label"
  data_param { source: "db_labels" batch_size: 4 backend: LMDB } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
  inner_product_param { num_output: 3 } }
layer { name: "loss" type: "EuclideanLoss" bottom: "ip" bottom: "label" top: "loss" }
"""


@pytest.mark.oracle
def test_both_builds_read_images_and_labels_in_step(root: Path, bvlc: Build, monkeypatch):
    names = [key.split("_", 1)[1] for key in records(convert(root, "--shuffle"))]
    parent = root.parent
    files = {name: parent / name for name in ("db", "db_labels")}
    with bvlc.workplace({**files, "net.prototxt": NET}) as place:
        place.python(READ)
        with np.load(place.path / "out.npz") as there:
            expected = dict(there)
    monkeypatch.chdir(parent)
    Path("net.prototxt").write_text(NET)
    ours = caffe.Net("net.prototxt", caffe.TEST)
    for i in range(3):
        ours.forward()
        for blob in ("data", "label"):
            np.testing.assert_array_equal(ours.blobs[blob].data, expected[f"{blob}.{i}"])
        for row in range(4):
            name = names[(4 * i + row) % 6]
            np.testing.assert_array_equal(
                ours.blobs["data"].data[row], cv2.imread(str(root / name)).transpose(2, 0, 1)
            )
            np.testing.assert_array_equal(
                ours.blobs["label"].data[row].ravel(), VALUES[NAMES.index(name)]
            )


@pytest.mark.oracle
def test_bvlcs_interpreter_writes_the_same(root: Path, bvlc: Build):
    convert(root, "--shuffle")
    with bvlc.workplace({"images": root, "list.txt": root.parent / "list.txt"}) as place:
        place.module("caffetools.lmdb", "convert", "--list", "list.txt", "--root", "images",
                     "--output", "db", "--labels", "3", "--shuffle")  # fmt: skip
        for name in ("db", "db_labels"):
            assert records(place.path / name) == records(root.parent / name)
