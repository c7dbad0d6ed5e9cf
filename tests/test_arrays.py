"""NumPy's arrays to HDF5 files and LMDBs."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import h5py
import lmdb
import numpy as np
import pytest

from caffe.proto import caffe_pb2
from caffetools.arrays import __main__ as tool
from caffetools.arrays import hdf5, npy
from caffetools.cli import ToolError

COUNT = 23


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def save(**arrays: np.ndarray) -> list[str]:
    """The arrays as files, and the options that name them."""
    for name, array in arrays.items():
        np.save(f"{name}.npy", array)
    return [word for name in arrays for word in ("--array", f"{name}={name}.npy")]


def made(form: str, *options: str) -> dict[str, object]:
    tool.main([form, "--output", "out", *options])
    return {path.as_posix(): path.read_bytes() for path in Path("out").rglob("*") if path.is_file()}


def some(dtype: str, *shape: int, seed: int = 0) -> np.ndarray:
    random = np.random.RandomState(seed)
    if np.dtype(dtype).kind == "f":
        return random.normal(size=shape).astype(dtype)
    return random.randint(0, 120, shape).astype(dtype)


def datums(database: str) -> list[tuple[bytes, caffe_pb2.Datum]]:
    with lmdb.open(database, readonly=True, lock=False) as environment:
        found = list(environment.begin().cursor())
    return [(bytes(key), caffe_pb2.Datum.FromString(bytes(value))) for key, value in found]


# --- what is written --------------------------------------------------------------------

DTYPES = ["<f4", ">f4", "<f8", "<f2", "u1", "i1", "<i8", ">u2", "?"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_hdf5_files_hold_the_rows_in_order(dtype: str):
    x, y = some(dtype, COUNT, 3, 4, 5), some("<i8", COUNT)
    made("hdf5", *save(data=x, label=y), "--file-bytes", str(7 * 4 * 61))
    files = Path("out/files.txt").read_text().split()
    assert files == [f"out/{i:05d}.h5" for i in range(4)]
    found = {"data": [], "label": []}
    for name in files:
        with h5py.File(name) as file:
            assert sorted(file) == ["data", "label"]
            for key in file:
                assert file[key].dtype == np.float32
                found[key].append(file[key][()])
    assert [len(part) for part in found["data"]] == [7, 7, 7, 2]
    np.testing.assert_array_equal(np.concatenate(found["data"]), x.astype(np.float32))
    np.testing.assert_array_equal(np.concatenate(found["label"]), y)
    facts = json.loads(Path("out.json").read_text())
    assert facts["entries"] == COUNT
    assert facts["arrays"]["data"]["shape"] == [3, 4, 5]
    assert facts["files"] == {
        Path(name).name: n for name, n in zip(files, (7, 7, 7, 2), strict=True)
    }


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (6,), (3, 4, 5)])
def test_lmdbs_hold_the_rows_in_order(dtype: str, shape: tuple[int, ...]):
    x, y = some(dtype, COUNT, *shape), some("<f4", COUNT, 2)
    made("lmdb", *save(data=x, label=y))
    records = {name: datums(f"out/{name}") for name in ("data", "label")}
    keys = [f"{i:08d}_{i}".encode() for i in range(COUNT)]
    for name, array in (("data", x), ("label", y)):
        assert [key for key, _ in records[name]] == keys
        for (_, datum), row in zip(records[name], array, strict=True):
            planes = row.reshape((*row.shape, 1, 1, 1)[:3])
            assert (datum.channels, datum.height, datum.width) == planes.shape
            expected = caffe_pb2.Datum(
                channels=datum.channels, height=datum.height, width=datum.width, label=0
            )
            if dtype in ("u1", "?") and name == "data":
                expected.data = planes.astype(np.uint8).tobytes()
            else:
                expected.float_data.extend(planes.astype(np.float32).ravel().tolist())
            expected.encoded = False
            assert datum.SerializeToString() == expected.SerializeToString()
    facts = json.loads(Path("out/data.json").read_text())
    means = x.reshape(COUNT, x[0].size // (20 if len(shape) == 3 else 1), -1).astype(np.float64)
    assert facts["entries"] == COUNT
    np.testing.assert_allclose(facts["channel_means"], means.mean(axis=(0, 2)), atol=2e-4)


def test_a_record_is_as_protobuf_writes_it():
    made("lmdb", *save(data=some("<f4", 1, 2, 3, 4)))
    with lmdb.open("out/data", readonly=True, lock=False) as environment:
        (value,) = [bytes(value) for _, value in environment.begin().cursor()]
    assert caffe_pb2.Datum.FromString(value).SerializeToString() == value


def test_one_seed_shuffles_all_arrays_alike():
    x = np.arange(COUNT, dtype="<f4")
    options = [*save(data=x, label=-x), "--shuffle", "--seed", "5"]
    made("lmdb", *options)
    order = [int(datum.float_data[0]) for _, datum in datums("out/data")]
    assert sorted(order) == list(range(COUNT)) != order
    assert [int(-datum.float_data[0]) for _, datum in datums("out/label")] == order
    assert [key for key, _ in datums("out/data")] == [
        f"{place:08d}_{row}".encode() for place, row in enumerate(order)
    ]
    tool.main(["hdf5", "--output", "h5", *options, "--file-bytes", "40"])
    found = []
    for name in Path("h5/files.txt").read_text().split():
        with h5py.File(name) as file:
            found += file["data"][()].tolist()
            np.testing.assert_array_equal(file["label"][()], -file["data"][()])
    assert found == order


def test_an_array_can_be_the_label():
    x, y = some("u1", COUNT, 3, 4, 5), some("<i8", COUNT)
    made("lmdb", *save(data=x, label=y), "--label", "label", "--shuffle")
    assert not Path("out/label").exists()
    for key, datum in datums("out/data"):
        row = int(key.split(b"_")[1])
        assert datum.label == y[row]
        assert datum.data == x[row].tobytes()
    labels = json.loads(Path("out/data.json").read_text())["labels"]
    assert sum(labels.values()) == COUNT


@pytest.mark.parametrize("form", ["hdf5", "lmdb"])
def test_equal_arrays_give_equal_bytes(form: str, monkeypatch: pytest.MonkeyPatch):
    options = [*save(data=some("<f8", COUNT, 3, 4, 5), label=some("<i4", COUNT)), "--shuffle"]
    first = made(form, *options)
    time.sleep(1.1)  # times in an HDF5 file are in whole seconds
    # Neither the time, nor how much is read at once, nor what was there before.
    monkeypatch.setattr(npy, "_BLOCK", 1000)
    assert made(form, *options) == first
    assert len(first) >= 2


@pytest.mark.slow
@pytest.mark.parametrize("form", ["hdf5", "lmdb"])
def test_memory_does_not_grow_with_the_array(form: str):
    """A limit on the heap, which mapped files do not count to; the array is 400 MB."""
    rows = np.lib.format.open_memmap("big.npy", "w+", "<f4", (100_000, 1000))
    rows[:] = np.arange(1000)
    del rows

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_DATA, (300 << 20, 300 << 20))

    done = subprocess.run(
        [sys.executable, "-m", "caffetools.arrays", form, "--array", "data=big.npy", "--output",
         "out", "--shuffle"],
        preexec_fn=limit, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


# --- mistakes ---------------------------------------------------------------------------


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize("form", ["hdf5", "lmdb"])
@pytest.mark.parametrize(
    ("value", "dtype", "said"),
    [
        (NAN, "<f4", "is nan, by which a training's weights would all become nan"),
        (INF, "<f2", "is inf, by which"),
        (-INF, ">f8", "is -inf, by which"),
        (1e39, "<f8", r"is 1e\+39, which is beyond what float32 holds"),
        (2**24 + 1, "<i4", "is 16777217, and float32.* whole numbers up to 16777216 exactly"),
        (-(2**63), "<i8", "is -9223372036854775808, and float32"),
        (2**64 - 1, "<u8", "is 18446744073709551615, and float32"),
    ],
)
def test_values_that_float32_cannot_hold_are_refused(form, value, dtype, said, monkeypatch):
    monkeypatch.setattr(npy, "_BLOCK", 48)
    array = np.zeros((COUNT, 4), dtype)
    made(form, *save(data=array))
    before = {path: path.stat().st_mtime_ns for path in Path("out").rglob("*")}
    array[17, 2] = value
    with pytest.raises(ToolError, match=rf"^data\.npy: \[17, 2\] {said}"):
        made(form, *save(data=array), "--shuffle")
    assert {path: path.stat().st_mtime_ns for path in Path("out").rglob("*")} == before
    assert {path.name for path in Path().iterdir()} <= {"data.npy", "out", "out.json"}


def test_whole_numbers_that_float32_holds_are_taken():
    for dtype in ("<i8", "<u8", "<f8"):
        made("hdf5", *save(data=np.array([0, 2**24], dtype)))
    made("hdf5", *save(data=np.array([-(2**24), 5], ">i4")))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--array", "x.npy"], "--array 'x.npy': expected NAME=FILE.npy"),
        (["--array", "a/b=x.npy"], "--array 'a/b=x.npy': expected NAME=FILE.npy"),
        (["--array", "..=x.npy"], "expected NAME=FILE.npy"),
        (["--array", "d=x.npy", "--array", "d=y.npy"], "there is an array 'd' before it"),
        (["--array", "d=none.npy"], "none.npy: expected a .npy file.* found nothing"),
        (["--array", "d=."], "expected a .npy file.* found a folder"),
        (["--array", "d=x.npy", "--array", "l=y.npy"], "y.npy: has 4 items and x.npy 3"),
        (["--array", "d=x.npy", "--seed", "-1"], "--seed: expected a number from 0"),
    ],
)
@pytest.mark.parametrize("form", ["hdf5", "lmdb"])
def test_mistakes_of_either_form(form: str, options: list[str], said: str):
    save(x=np.zeros((3, 2)), y=np.zeros(4))
    with pytest.raises(ToolError, match=said):
        tool.main([form, *options, "--output", "out"])
    assert not Path("out").exists()


def test_mistakes_of_hdf5():
    data = save(data=np.zeros((3, 2)))
    with pytest.raises(ToolError, match="--file-bytes: expected from 1 to 8589934588, found 0"):
        made("hdf5", *data, "--file-bytes", "0")
    with pytest.raises(ToolError, match=r"'a b/00000\.h5': has white space in it"):
        tool.main(["hdf5", *data, "--output", "a b"])
    Path("out").mkdir()
    Path("out/mine.txt").write_text("")
    with pytest.raises(ToolError, match=r"out: will not be replaced, since it holds 'mine\.txt'"):
        made("hdf5", *data)


@pytest.mark.parametrize(
    ("label", "said"),
    [
        (np.array([0, 1, 2.5]), r"l\.npy: \[2\] is 2\.5, and a Datum's label is a whole number"),
        (np.array([0, NAN, 2]), r"l\.npy: \[1\] is nan, and a Datum's label"),
        (np.array([2**31, 1, 2]), r"l\.npy: \[0\] is 2147483648, and a Datum's label"),
        (np.zeros((3, 2), "u1"), r"l\.npy: a Datum has one whole number as its label, .* 2 values"),
    ],
)
def test_labels_that_are_none(label: np.ndarray, said: str):
    with pytest.raises(ToolError, match=said):
        made("lmdb", *save(d=np.zeros(3), l=label), "--label", "l")


def test_mistakes_of_lmdb():
    data = save(data=np.zeros((3, 2)))
    with pytest.raises(ToolError, match="--label data: expected one of several arrays"):
        made("lmdb", *data, "--label", "data")
    with pytest.raises(ToolError, match="found 3 x 4 x 5; of gray images make one with array"):
        made("lmdb", *save(data=np.zeros((3, 4, 5))))


def test_a_full_disk_ends_in_a_sentence(monkeypatch: pytest.MonkeyPatch):
    data = save(data=np.zeros((3, 2)))

    class Usage:
        free = 100

    monkeypatch.setattr(hdf5.shutil, "disk_usage", lambda _: Usage)
    with pytest.raises(ToolError, match=r"0\.1 MB are needed, and the disk has 0\.0 MB free"):
        made("hdf5", *data)
    assert [path.name for path in Path().iterdir()] == ["data.npy"]


def test_a_disk_that_fills_leaves_nothing_behind():
    save(data=np.zeros((1000, 100)))

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    done = subprocess.run(
        [sys.executable, "-m", "caffetools.arrays", "hdf5", "--array", "data=data.npy", "--output",
         "out"],
        preexec_fn=limit, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1
    assert "could not be written" in done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in Path().iterdir()] == ["data.npy"]
