"""caffetools.stored_images: IDX and CIFAR, whole and hostile; Parquet has a file of its own."""

from __future__ import annotations

import csv
import gzip
import json
import pickle
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from bvlc import Build

from caffetools.cli import ToolError
from caffetools.stored_images import __main__ as command

CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def bring(path: Path, form: str, *more: str) -> Path:
    """Run the command on ``path/source``; return ``path/out``."""
    command.main(
        [
            *(form, "--source", str(path / "source"), "--output", str(path / "out")),
            *("--index", str(path / "index.csv"), *more),
        ]
    )
    return path / "out"


def refused(path: Path, form: str, complaint: str, *more: str) -> None:
    with pytest.raises(ToolError, match=complaint):
        bring(path, form, *more)
    assert [entry.name for entry in path.iterdir() if entry.is_dir()] == ["source"]
    assert not (path / "index.csv").exists()


def index(path: Path) -> list[dict[str, str]]:
    with (path / "index.csv").open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def split_of(path: Path, split: str) -> tuple[np.ndarray, list[int]]:
    """The images of a split as they are in the files, in order, and their labels."""
    rows = [row for row in index(path) if row["split"] == split]
    files = [cv2.imread(str(path / "out" / row["path"]), cv2.IMREAD_UNCHANGED) for row in rows]
    assert all(row["path"].startswith(f"{row['class']}/{split or 'image'}.") for row in rows)
    assert not any(row["group"] for row in rows)
    return np.stack(files), [int(row["label"]) for row in rows]


# --- IDX ------------------------------------------------------------------------------


def idx(values: np.ndarray) -> bytes:
    header = struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape)
    return header + values.astype(np.uint8).tobytes()


def digits(count: int, height: int = 5, width: int = 7) -> np.ndarray:
    random = np.random.default_rng(count)
    return random.integers(0, 256, (count, height, width), dtype=np.uint8)


def write_idx(path: Path, ending: str = ".gz", form: str = "{}-{}-idx{}-ubyte") -> None:
    """MNIST in small: 20 images to train on, 7 to test."""
    (path / "source").mkdir(parents=True, exist_ok=True)
    for split, count in (("train", 20), ("t10k", 7)):
        for kind, values in (("images", digits(count)), ("labels", np.arange(count) % 10)):
            name = form.format(split, kind, values.ndim) + ending
            content = idx(values)
            content = gzip.compress(content, mtime=0) if ending == ".gz" else content
            (path / "source" / name).write_bytes(content)


@pytest.mark.parametrize("ending", [".gz", ""])
@pytest.mark.parametrize("form", ["{}-{}-idx{}-ubyte", "emnist-digits-{}-{}-idx{}-ubyte",
                                  "{}-{}.idx{}-ubyte"])  # fmt: skip
def test_each_pixel_of_mnist_and_its_own_split(tmp_path: Path, ending: str, form: str) -> None:
    write_idx(tmp_path, ending, form)
    out = bring(tmp_path, "idx")
    assert sorted(folder.name for folder in out.iterdir()) == [str(n) for n in range(10)]
    for split, count in (("train", 20), ("test", 7)):
        images, labels = split_of(tmp_path, split)
        np.testing.assert_array_equal(images, digits(count))
        assert labels == [number % 10 for number in range(count)]
    assert list(index(tmp_path)[0]) == ["path", "label", "class", "split", "group"]
    assert len(list(out.rglob("*.png"))) == 27


def test_images_that_are_read_in_several_blocks(tmp_path: Path) -> None:
    write_idx(tmp_path)
    large = digits(30, 300, 211)  # of 1.9 MB
    source = tmp_path / "source"
    (source / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(large), 1))
    (source / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(np.zeros(30))))
    bring(tmp_path, "idx")
    np.testing.assert_array_equal(split_of(tmp_path, "train")[0], large)


def test_classes_by_name_or_by_numbers_of_one_width(tmp_path: Path) -> None:
    write_idx(tmp_path)
    (tmp_path / "names.txt").write_text("".join(f"number {n}\n" for n in range(10)))
    out = bring(tmp_path, "idx", "--names", str(tmp_path / "names.txt"))
    assert (out / "number 3" / "train.000003.png").exists()
    with pytest.raises(ToolError, match="will not be replaced"):
        bring(tmp_path, "idx")
    (tmp_path / "names.txt").write_text("a\n../b\n" + "x\n" * 8)
    with pytest.raises(ToolError, match=r"names.txt:2: '../b' cannot be the name of a class"):
        bring(tmp_path, "idx", "--names", str(tmp_path / "names.txt"))
    labels = np.array([0, 26, 3] + [1] * 17)
    (tmp_path / "source" / "train-labels-idx1-ubyte.gz").write_bytes(
        gzip.compress(idx(labels), mtime=0)
    )
    command.main(
        [
            *("idx", "--source", str(tmp_path / "source"), "--output", str(tmp_path / "other")),
            *("--index", str(tmp_path / "index.csv")),
        ]
    )
    assert [row["class"] for row in index(tmp_path)[:3]] == ["00", "26", "03"]


def test_the_same_again_gives_the_same_bytes(tmp_path: Path) -> None:
    write_idx(tmp_path)

    def tree() -> dict[str, bytes]:
        out = bring(tmp_path, "idx")
        files = {path.name: path.read_bytes() for path in out.rglob("*.png")}
        return {**files, "index": (tmp_path / "index.csv").read_bytes()}

    assert tree() == tree()


def test_an_old_index_never_stands_beside_new_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process may end between the two renamings."""
    write_idx(tmp_path)
    bring(tmp_path, "idx")

    def end(partial: Path, path: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("caffetools.files.put_in_place", end)
    with pytest.raises(KeyboardInterrupt):
        bring(tmp_path, "idx")
    assert not (tmp_path / "index.csv").exists()


def test_unpacked_files_beside_the_packed_ones_are_read(tmp_path: Path) -> None:
    write_idx(tmp_path, ".gz")
    write_idx(tmp_path, "")
    (tmp_path / "source" / "train-images-idx3-ubyte.gz").write_bytes(b"broken")
    bring(tmp_path, "idx")
    np.testing.assert_array_equal(split_of(tmp_path, "train")[0], digits(20))


TRAIN, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
IMAGES = idx(digits(20))


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        (TRAIN, b"\0\0\x0d" + IMAGES[3:], "begins with 00000803, found 00000d03"),
        (TRAIN, idx(np.zeros(20)), "begins with 00000803, found 00000801"),
        (TRAIN, b"", "found nothing"),
        (TRAIN, b"<html>", "found 3c68746d"),
        (TRAIN, IMAGES[:10], "ends in its header"),
        (TRAIN, IMAGES[:-1], "it claims 20 images and holds fewer"),
        (TRAIN, IMAGES + b"x", "expected its end after the values that it claims"),
        (TRAIN, idx(digits(19)), "has 19 images, and .* 20 labels"),
        (TRAIN, IMAGES[:4] + struct.pack(">3I", 20, 0, 7), r"lengths above 0, found \[20, 0, 7\]"),
        (TRAIN, IMAGES[:4] + b"\xff" * 12 + IMAGES, "claims 4294967295 x 4294967295 x 4294967295"),
        (LABELS, idx(np.arange(20))[:-3], "it claims 20 labels and holds 17"),
        (LABELS, b"\0\0\x08\x01\xff\xff\xff\xff", "claims 4294967295 values, more than can be"),
        (LABELS, idx(np.arange(21) % 10), "has 20 images, and .* 21 labels"),
        (TRAIN, gzip.compress(IMAGES, mtime=0)[:-9], "cut off or damaged"),
        (TRAIN, gzip.compress(IMAGES, mtime=0)[:60], "cut off or damaged"),
        (TRAIN, gzip.compress(IMAGES, mtime=0)[:-8] + bytes(8), "cut off or damaged: CRC"),
        (TRAIN, gzip.compress(IMAGES + b"x", mtime=0), "expected its end"),
    ],
)
def test_hostile_idx_files(tmp_path: Path, name: str, content: bytes, complaint: str) -> None:
    write_idx(tmp_path, "")
    (tmp_path / "source" / name).write_bytes(content)
    refused(tmp_path, "idx", complaint)


@pytest.mark.parametrize(
    ("removed", "added", "complaint"),
    [
        (LABELS, "", "expected a file of labels beside it, found none"),
        (TRAIN, "", "expected a file of images beside it, found none"),
        ("", "x-train-images-idx3-ubyte", "expected one file of train"),
        ("", "old-images-idx3-ubyte", "which tells the split"),
        ("*", "", "expected IDX files such as train-images-idx3-ubyte.gz .* found none"),
    ],
)
def test_files_that_are_not_those_of_mnist(
    tmp_path: Path, removed: str, added: str, complaint: str
) -> None:
    write_idx(tmp_path, "")
    for path in tmp_path.glob(f"source/{removed}") if removed else []:
        path.unlink()
    if added:
        (tmp_path / "source" / added).write_bytes(IMAGES)
    refused(tmp_path, "idx", complaint)


# --- CIFAR ----------------------------------------------------------------------------


def batch(count: int, labels: int, classes: int) -> np.ndarray:
    """Records of ``labels`` bytes of labels and an image each."""
    random = np.random.default_rng(count)
    records = random.integers(0, 256, (count, labels + 3072), dtype=np.uint8)
    records[:, :labels] = (np.arange(count)[:, None] * 7 + np.arange(labels)) % classes
    return records


def write_cifar10(path: Path) -> np.ndarray:
    source = path / "source"
    source.mkdir(parents=True)
    records = batch(63, 1, 10)
    for number in range(6):
        name = f"data_batch_{number + 1}.bin" if number < 5 else "test_batch.bin"
        records[number * 10 : (number + 1) * 10 if number < 5 else None].tofile(source / name)
    (source / "batches.meta.txt").write_text("".join(f"{name}\n" for name in CLASSES) + "\n")
    return records


def by_hand(record: np.ndarray) -> np.ndarray:
    """The image of a record, in BGR: 1,024 bytes of red, of green, of blue, row by row."""
    red, green, blue = (record[-3072:][start : start + 1024] for start in (0, 1024, 2048))
    return np.dstack([plane.reshape(32, 32) for plane in (blue, green, red)])


def test_each_pixel_of_cifar10(tmp_path: Path) -> None:
    records = write_cifar10(tmp_path)
    out = bring(tmp_path, "cifar10")
    assert sorted(folder.name for folder in out.iterdir()) == CLASSES
    for split, own in (("train", records[:50]), ("test", records[50:])):
        images, labels = split_of(tmp_path, split)
        np.testing.assert_array_equal(images, np.stack([by_hand(record) for record in own]))
        assert labels == own[:, 0].tolist()
    assert all(row["class"] == CLASSES[int(row["label"])] for row in index(tmp_path))


def write_cifar100(path: Path) -> dict[str, np.ndarray]:
    source = path / "source"
    source.mkdir(parents=True)
    records = {"train": batch(40, 2, 20), "test": batch(9, 2, 20)}
    for split, own in records.items():
        own[0, 1] = 99
        own.tofile(source / f"{split}.bin")
    for kind, count in (("fine", 100), ("coarse", 20)):
        lines = [f"{kind}_{number:02d}\n" for number in range(count)]
        (source / f"{kind}_label_names.txt").write_text("".join(lines))
    return records


@pytest.mark.parametrize(("label", "byte"), [("fine", 1), ("coarse", 0)])
def test_cifar100_by_either_label(tmp_path: Path, label: str, byte: int) -> None:
    records = write_cifar100(tmp_path)
    bring(tmp_path, "cifar100", "--label", label)
    for split, own in records.items():
        images, labels = split_of(tmp_path, split)
        np.testing.assert_array_equal(images, np.stack([by_hand(record) for record in own]))
        assert labels == own[:, byte].tolist()
    assert {row["class"][:-3] for row in index(tmp_path)} == {label}


def test_hostile_cifar_files(tmp_path: Path) -> None:
    records = write_cifar10(tmp_path)
    path = tmp_path / "source" / "data_batch_3.bin"
    whole = path.read_bytes()
    for content in (whole[:-1], b"", whole + b"x", whole[:100]):
        path.write_bytes(content)
        refused(tmp_path, "cifar10", r"batch_3.bin: expected a whole number of records of 3073")
    wrong = records[20:30].copy()
    wrong[4, 0] = 10
    wrong.tofile(path)
    refused(tmp_path, "cifar10", "record 4 has the label 10, expected 0 to 9")
    path.unlink()
    refused(tmp_path, "cifar10", "found no data_batch_3.bin")
    path.write_bytes(whole)
    (tmp_path / "source" / "batches.meta.txt").write_text("a\n../../b\n" + "c\n" * 8)
    refused(tmp_path, "cifar10", r"batches.meta.txt:2: '../../b' cannot be the name")
    (tmp_path / "source" / "batches.meta.txt").write_text("a\nb\n")
    refused(tmp_path, "cifar10", "expected a line for each label up to 9, found 2")


class Bomb:
    """What runs when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return (pytest.fail, ("a pickle was loaded",))


@pytest.mark.parametrize(
    ("form", "names"), [("cifar10", ["data_batch_1", "batches.meta"]), ("cifar100", ["train"])]
)
def test_the_pickled_version_is_not_read(tmp_path: Path, form: str, names: list[str]) -> None:
    (tmp_path / "source").mkdir()
    for name in names:
        (tmp_path / "source" / name).write_bytes(pickle.dumps(Bomb()))
    refused(tmp_path, form, "python version, which is pickled .* fetch the binary version")


def test_a_folder_that_is_none_and_an_index_that_would_be_replaced(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="source: expected a folder, found none"):
        bring(tmp_path, "idx")
    write_idx(tmp_path)
    with pytest.raises(ToolError, match=r"lies in .*out, which is replaced"):
        bring(tmp_path, "idx", "--index", str(tmp_path / "out" / "index.csv"))


@pytest.mark.oracle
def test_it_runs_on_the_interpreter_of_bvlcs_build(tmp_path: Path, bvlc: Build) -> None:
    """With Python 3.9, NumPy 1.19 and Debian 11's OpenCV."""
    write_idx(tmp_path)
    write_cifar10(tmp_path / "cifar")
    places = {"idx": tmp_path / "source", "cifar10": tmp_path / "cifar" / "source"}
    script = (
        "import glob, cv2\n"
        "from caffetools.cli import ToolError\n"
        "from caffetools.stored_images import __main__ as command\n"
        "def bring(form):\n"
        "    command.main([form, '--source', form, '--output', form + '.out',\n"
        "                  '--index', form + '.csv'])\n"
        "    return [cv2.imread(path, -1).ravel().tolist()[:300]\n"
        "            for path in sorted(glob.glob(form + '.out/*/train.00000*.png'),\n"
        "                               key=lambda path: path.rpartition('/')[2])]\n"
        "import json\n"
        "print(json.dumps([bring('idx'), bring('cifar10')]))\n"
        "try:\n"
        "    command.main(['parquet', '--source', 'idx', '--output', 'out', '--index', 'i'])\n"
        "except ToolError as error:\n"
        "    print(error)\n"
    )
    done = bvlc.python(script, files=places, caffetools=True)
    first, said = done.stdout.splitlines()
    gray, colour = json.loads(first)
    assert gray == digits(20)[:10].reshape(10, -1).tolist()
    records = batch(63, 1, 10)
    assert colour == [by_hand(record).ravel().tolist()[:300] for record in records[:10]]
    assert said == "reading Parquet needs pyarrow, which is not installed; pip install pyarrow"
