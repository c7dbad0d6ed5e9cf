"""Image lists as LMDBs: the records, the manifest, what is refused; BVLC's own as the judge."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

import bvlc as bvlc_build
import cv2
import lmdb
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from caffe.proto import caffe_pb2
from caffetools import databases
from caffetools import lmdb as tool
from caffetools.cli import ToolError
from caffetools.datums import datum_bytes

# Names that a careless parser of lists stumbles over.
NAMES = ("cat/a.png", "black cat/b 2.png", "Ähre/ü.png", "cat/1 0.png", "cat/z.png")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Noise, gray and colour, of several shapes, and a list of it."""
    random = np.random.RandomState(0)
    shapes = [(8, 8), (30, 17, 3), (61, 90, 3), (28, 28, 4), (200, 33, 3)]
    for name, shape in zip(NAMES, shapes, strict=True):
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), random.randint(0, 256, shape).astype(np.uint8))
    lines = [f"{name} {label}\n" for label, name in enumerate(NAMES)]
    (tmp_path / "list.txt").write_text("".join(lines), encoding="utf-8")
    return tmp_path / "images"


def convert(root: Path, *options: str, size: Sequence[int] = (28, 28)) -> Path:
    """Run the command on the list beside ``root``."""
    output = root.parent / "db"
    places = ["--list", str(root.parent / "list.txt"), "--root", str(root)]
    resize = ["--width", str(size[0]), "--height", str(size[1])] if size else []
    tool.main(["convert", *places, "--output", str(output), *resize, *options])
    return output


def records(database: Path) -> list[tuple[bytes, bytes]]:
    with lmdb.open(str(database), readonly=True, lock=False) as environment:
        return list(environment.begin().cursor())


def manifest(database: Path) -> dict:
    return json.loads(database.with_name(f"{database.name}.json").read_text())


# --- what is written --------------------------------------------------------------------


def test_a_record_holds_key_pixels_and_label(root: Path) -> None:
    image = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    cv2.imwrite(str(root / "cat/a.png"), image)
    (root.parent / "list.txt").write_text("cat/a.png 7\n")
    ((key, value),) = records(convert(root, size=()))
    assert key == b"00000000_cat/a.png"
    # Field by field: channels 3, height 2, width 4, data of 24 bytes, label 7, encoded false.
    planes = bytes([*range(0, 24, 3), *range(1, 24, 3), *range(2, 24, 3)])
    assert value == b"\x08\x03\x10\x02\x18\x04\x22\x18" + planes + b"\x28\x07\x38\x00"


@given(st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3]), st.integers(0, 2**31 - 1))
def test_datum_gives_the_image_back(height: int, width: int, channels: int, label: int) -> None:
    image = np.random.RandomState(label).randint(0, 256, (height, width, channels), np.uint8)
    datum = caffe_pb2.Datum.FromString(datum_bytes(image, label))
    assert (datum.channels, datum.height, datum.width) == (channels, height, width)
    assert datum.label == label
    planes = np.frombuffer(datum.data, np.uint8).reshape(channels, height, width)
    np.testing.assert_array_equal(planes.transpose(1, 2, 0), image)


def test_manifest_describes_the_records(root: Path) -> None:
    database = convert(root, "--gray", size=(20, 10))
    digest = hashlib.sha256(b"".join(key + value for key, value in records(database)))
    images = [cv2.resize(cv2.imread(str(root / name), 0), (20, 10)) for name in NAMES]
    assert manifest(database) == {
        "channel_means": [round(np.mean(images), 4)],
        "channels": 1,
        "class_means": {str(i): [round(np.mean(image), 4)] for i, image in enumerate(images)},
        "encode": None,
        "entries": 5,
        "fit": {"height": 10, "mode": "warp", "width": 20},
        "height": 10,
        "labels": {"0": 1, "1": 1, "2": 1, "3": 1, "4": 1},
        "sha256": digest.hexdigest(),
        "shapes_differ": False,
        "width": 20,
    }
    assert [path.name for path in database.iterdir()] == ["data.mdb"]


def test_same_input_same_file(root: Path) -> None:
    first = (convert(root) / "data.mdb").read_bytes()
    assert (convert(root) / "data.mdb").read_bytes() == first


def test_shuffle_is_seeded_and_loses_nothing(root: Path) -> None:
    def paths(*options: str) -> list[str]:
        found = [key.decode() for key, _ in records(convert(root, *options))]
        assert [key[:9] for key in found] == [f"{i:08d}_" for i in range(5)]
        return [key[9:] for key in found]

    plain, first = paths(), paths("--shuffle", "--seed", "1")
    assert first == paths("--shuffle", "--seed", "1")
    assert first != plain
    assert first != paths("--shuffle", "--seed", "2")
    assert sorted(first) == sorted(plain) == sorted(NAMES)


def test_map_grows_over_many_transactions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(databases, "_FIRST_MAP_SIZE", 1 << 16)
    monkeypatch.setattr(databases, "_RECORDS_AT_ONCE", 10)
    value = bytes(5000)
    sums = np.zeros(1)
    written = [tool.Record(b"%08d_x" % i, value, 0, (1, 50, 100), sums) for i in range(205)]
    facts = tool.write(iter(written), tmp_path / "db", 205)
    assert facts["entries"] == 205
    assert records(tmp_path / "db") == [(r.key, r.value) for r in written]
    assert (tmp_path / "db/data.mdb").stat().st_size > 205 * len(value)


@pytest.mark.parametrize("keys", [(b"99999999_a", b"100000000_a"), (b"1", b"1"), (b"2", b"1")])
def test_keys_that_do_not_ascend_are_not_passed_over(
    tmp_path: Path, keys: tuple[bytes, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    for at_once in (1, 2):
        monkeypatch.setattr(databases, "_RECORDS_AT_ONCE", at_once)
        folder = tmp_path / str(at_once)
        folder.mkdir()
        with pytest.raises(ToolError, match="expected keys that ascend"):
            databases.write(folder, [(key, b"value") for key in keys])


@pytest.mark.parametrize(("limit", "sizes"), [(1 << 28, [3, 3, 1]), (200, [2, 2, 2, 1])])
def test_transactions_end_by_count_or_by_size(
    monkeypatch: pytest.MonkeyPatch, limit: int, sizes: list[int]
) -> None:
    monkeypatch.setattr(databases, "_RECORDS_AT_ONCE", 3)
    monkeypatch.setattr(databases, "_BYTES_AT_ONCE", limit)
    made = ((b"%d" % i, bytes(100)) for i in range(7))
    assert [len(batch) for batch in databases._batches(made)] == sizes


# --- lists ------------------------------------------------------------------------------


def test_label_follows_the_last_space(tmp_path: Path) -> None:
    (tmp_path / "l").write_bytes("a b/c 1.png 3\nü.png 0\r\n".encode())
    assert tool.read_list(tmp_path / "l") == [("a b/c 1.png", 3), ("ü.png", 0)]


@pytest.mark.parametrize(
    "line", ["a.png", "a.png ", "a.png one", "a.png -1", " 1", "", "a.png 1 ", "a.png 9999999999"]
)
def test_a_line_of_another_form_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "l").write_text(f"a.png 0\n{line}\nb.png 1\n")
    with pytest.raises(ToolError, match=r"l:2: expected 'path label'"):
        tool.read_list(tmp_path / "l")


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "no such file"), (b"", "found none"), (b"caf\xe9.png 0\n", "expected UTF-8")],
)
def test_a_list_that_is_none(tmp_path: Path, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / "l").write_bytes(content)
    with pytest.raises(ToolError, match=message):
        tool.read_list(tmp_path / "l")


# --- what is refused, and that nothing is lost by it ------------------------------------


def refusal(root: Path, *options: str, size: Sequence[int] = (28, 28)) -> str:
    with pytest.raises(ToolError) as caught:
        convert(root, *options, size=size)
    assert sorted(p.name for p in root.parent.iterdir()) in (
        ["images", "list.txt"],
        ["db", "db.json", "images", "list.txt"],
    )
    return str(caught.value)


@pytest.mark.parametrize("content", [None, b"", b"not an image"])
def test_unreadable_image_is_named_and_the_old_database_stays(
    root: Path, content: bytes | None
) -> None:
    before = records(convert(root)), manifest(root.parent / "db")
    (root / "cat/z.png").unlink()
    if content is not None:
        (root / "cat/z.png").write_bytes(content)
    message = refusal(root)
    assert "cat/z.png: expected an image, found " in message
    assert ("no file" if content is None else "cannot be decoded") in message
    assert (records(root.parent / "db"), manifest(root.parent / "db")) == before


def test_what_a_killed_run_of_the_same_number_left_is_in_nobodys_way(root: Path) -> None:
    left = root.parent / f".db.{os.getpid()}.partial"
    left.mkdir()
    (left / "data.mdb").write_bytes(b"half")
    assert len(records(convert(root))) == len(NAMES)
    assert not left.exists()


def test_an_old_manifest_never_stands_beside_a_new_database(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    convert(root)
    monkeypatch.setattr(tool, "write_json", killed)
    with pytest.raises(KeyboardInterrupt):
        convert(root, "--gray")
    assert not (root.parent / "db.json").exists()


def test_images_by_hand_are_checked_before_they_are_decoded(root: Path) -> None:
    message = refusal(root, "--max-pixels", "509")
    assert "b 2.png: expected an image, found that it has 17 x 30 pixels, more than" in message
    noise = np.random.RandomState(1).randint(0, 256, (90, 90, 3)).astype(np.uint8)
    (root / "cat/z.png").write_bytes(cv2.imencode(".jpg", noise)[1].tobytes()[:2000])
    assert "cat/z.png: expected an image, found that it is cut off or damaged" in refusal(root)
    assert "--max-pixels: expected at least 1, found 0" in refusal(root, "--max-pixels", "0")


def test_shapes_that_differ(root: Path) -> None:
    message = refusal(root, size=())
    assert "record '00000001_black cat/b 2.png': expected the first image's shape" in message
    assert "(3, 8, 8), found (3, 30, 17); give --width and --height" in message


@pytest.mark.parametrize("path", ["../list.txt", "/etc/hostname", "cat/../../list.txt", "link.png"])
def test_paths_that_leave_the_root(root: Path, path: str) -> None:
    (root / "link.png").symlink_to(root.parent / "list.txt")
    (root.parent / "list.txt").write_text(f"{path} 0\n")
    assert f"'{path}': leads out of --root" in refusal(root)


def test_path_too_long_for_a_key(root: Path) -> None:
    (root.parent / "list.txt").write_text(f"{'a/' * 250}b.png 0\n")
    assert "expected at most 502 bytes" in refusal(root)


def test_longest_key_is_lmdbs(tmp_path: Path) -> None:
    with lmdb.open(str(tmp_path)) as environment:
        assert environment.max_key_size() == tool.LONGEST_KEY


@pytest.mark.parametrize("size", [("--width", "28"), ("--width", "0", "--height", "28")])
def test_half_a_size(root: Path, size: tuple[str, ...]) -> None:
    assert "--width and --height: expected both" in refusal(root, *size, size=())


def test_root_missing(root: Path) -> None:
    places = ["--list", str(root.parent / "list.txt"), "--root", str(root / "no")]
    with pytest.raises(ToolError, match="no such folder"):
        tool.main(["convert", *places, "--output", str(root.parent / "db")])


def test_a_folder_of_something_else_is_not_replaced(root: Path) -> None:
    (root.parent / "db").mkdir()
    (root.parent / "db/thesis.tex").write_text("years of work")
    with pytest.raises(ToolError, match=r"thesis\.tex"):
        convert(root)
    assert (root.parent / "db/thesis.tex").exists()


# --- BVLC's build as the judge ----------------------------------------------------------


@pytest.mark.oracle
@pytest.mark.parametrize("gray", [False, True])
@pytest.mark.parametrize("size", [(28, 28), (256, 227), (9, 3), (17, 64)])
def test_records_are_those_of_convert_imageset(
    root: Path, bvlc: bvlc_build.Build, gray: bool, size: tuple[int, int]
) -> None:
    flags = ["--gray"] if gray else []
    ours = convert(root, *flags, size=size)
    flags += [f"--resize_width={size[0]}", f"--resize_height={size[1]}"]
    with bvlc.workplace({"images": root, "list.txt": root.parent / "list.txt"}) as place:
        place.run(["convert_imageset", *flags, "images/", "list.txt", "db"])
        assert records(ours) == records(place.path / "db")


@pytest.mark.oracle
def test_records_without_resizing_too(root: Path, bvlc: bvlc_build.Build) -> None:
    (root.parent / "list.txt").write_text("black cat/b 2.png 3\nblack cat/b 2.png 0\n")
    ours = convert(root, size=())
    with bvlc.workplace({"images": root, "list.txt": root.parent / "list.txt"}) as place:
        place.run(["convert_imageset", "images/", "list.txt", "db"])
        assert records(ours) == records(place.path / "db")


READ = """
import sys, numpy, caffe
net = caffe.Net("net.prototxt", caffe.TEST)
net.forward()
numpy.savez("out.npz", data=net.blobs["data"].data, label=net.blobs["label"].data)
"""
NET = """
layer {
  name: "data" type: "Data" top: "data" top: "label"
  data_param { source: "db" batch_size: 5 backend: LMDB }
}
"""


@pytest.mark.oracle
def test_bvlcs_data_layer_reads_our_pixels(root: Path, bvlc: bvlc_build.Build) -> None:
    database = convert(root, size=(31, 20))
    with bvlc.workplace({"db": database, "net.prototxt": NET}) as place:
        place.python(READ)
        with np.load(place.path / "out.npz") as there:
            data, label = there["data"], there["label"]
    images = [cv2.resize(cv2.imread(str(root / name)), (31, 20)) for name in NAMES]
    np.testing.assert_array_equal(data, np.stack(images).transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(label, range(5))
