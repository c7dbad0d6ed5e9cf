"""BVLC's own Data and HDF5Data read what caffetools.arrays writes as ours do, bit for bit."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from bvlc import Build
from test_arrays import COUNT, DTYPES, datums, made, save, some

import caffe
from caffetools.arrays import __main__ as tool

pytestmark = pytest.mark.oracle


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


READ = """
import os, numpy, caffe
caffe.set_random_seed(3)
for case in sorted(os.listdir(".")):
    if not os.path.isdir(case):
        continue
    os.chdir(case)
    net = caffe.Net("net.prototxt", caffe.TEST)
    found = {}
    for i in range(4):
        net.forward()
        for name in net.blobs:
            found["%s.%d" % (name, i)] = net.blobs[name].data.copy()
    numpy.savez("out.npz", **found)
    os.chdir("..")
"""
HDF5 = """
layer { name: "h" type: "HDF5Data" top: "data" top: "label"
  hdf5_data_param { source: "out/files.txt" batch_size: 7 } }
"""
TWO = """
layer { name: "d" type: "Data" top: "data" transform_param { %s }
  data_param { source: "out/data" batch_size: 7 backend: LMDB } }
layer { name: "l" type: "Data" top: "label"
  data_param { source: "out/label" batch_size: 7 backend: LMDB } }
"""
ONE = """
layer { name: "d" type: "Data" top: "data" top: "label"
  data_param { source: "out/data" batch_size: 7 backend: LMDB } }
"""
SHAPES = [(3, 4, 5), (6,), ()]
CROPPED = TWO % "crop_size: 3 scale: 0.5 mean_value: 1.5"
CASES = {
    "hdf5": [
        *((dtype, shape, [], HDF5) for dtype in DTYPES for shape in SHAPES),
        ("<f4", (2, 1, 3, 1, 2), ["--shuffle"], HDF5),
    ],
    "lmdb": [
        *((dtype, shape, [], TWO % "") for dtype in DTYPES for shape in SHAPES),
        ("<f4", (3, 4, 5), ["--shuffle"], CROPPED),
        ("u1", (3, 4, 5), ["--shuffle"], CROPPED),
        ("u1", (3, 4, 5), ["--label", "label"], ONE),
        ("<f8", (6,), ["--label", "label", "--shuffle"], ONE),
    ],
}


@pytest.mark.parametrize("form", CASES)
def test_both_builds_read_the_same(bvlc: Build, tmp_path: Path, monkeypatch, form: str):
    """And that is what was saved, bit for bit, as float32."""
    folders = []
    for number, (dtype, shape, options, net) in enumerate(CASES[form]):
        folders.append(tmp_path / f"{number:03d}")
        folders[-1].mkdir()
        monkeypatch.chdir(folders[-1])
        split = ["--file-bytes", "1000"] if form == "hdf5" else []
        arrays = save(data=some(dtype, COUNT, *shape), label=some("<i4", COUNT))
        made(form, *arrays, *split, *options)
        Path("net.prototxt").write_text(net)
    with bvlc.workplace({folder.name: folder for folder in folders}) as place:
        place.python(READ)
        for folder, (_, _, options, net) in zip(folders, CASES[form], strict=True):
            monkeypatch.chdir(folder)
            with np.load(place.path / folder.name / "out.npz") as there:
                _compare(dict(there), options, is_whole=net is not CROPPED)


def _compare(expected: dict[str, np.ndarray], options: list[str], is_whole: bool) -> None:
    order = np.arange(COUNT)
    if "--shuffle" in options:
        order = np.random.RandomState(0).permutation(COUNT)
    ours = caffe.Net("net.prototxt", caffe.TEST)
    for i in range(4):
        ours.forward()
        rows = order[np.arange(7 * i, 7 * i + 7) % COUNT]
        for name in ("data", "label"):
            found = ours.blobs[name].data
            assert found.dtype == expected[f"{name}.{i}"].dtype == np.float32
            np.testing.assert_array_equal(found, expected[f"{name}.{i}"])
            if is_whole or name == "label":
                saved = np.load(f"{name}.npy")[rows].astype(np.float32)
                np.testing.assert_array_equal(found.reshape(7, -1), saved.reshape(7, -1))


def test_bvlcs_interpreter_writes_the_same(bvlc: Build):
    """The LMDBs byte for byte; of the HDF5 files the values, since its HDF5 is an older one."""
    options = [*save(data=some("<f8", COUNT, 3, 4, 5), label=some(">i2", COUNT)), "--shuffle"]
    ours = made("lmdb", *options)
    tool.main(["hdf5", "--output", "h5", *options, "--file-bytes", "1000"])
    files = {path.name: path for path in Path().glob("*.npy")}
    with bvlc.workplace(files) as place:
        place.module("caffetools.arrays", "lmdb", "--output", "out", *options)
        for name, content in ours.items():
            if not name.endswith("data.mdb"):
                assert (place.path / name).read_bytes() == content, name
        assert datums(str(place.path / "out/data")) == datums("out/data")
        place.module(
            "caffetools.arrays", "hdf5", "--output", "h5", *options, "--file-bytes", "1000"
        )
        for name in ("h5/files.txt", "h5.json"):
            assert (place.path / name).read_bytes() == Path(name).read_bytes()
        for path in Path("h5").glob("*.h5"):
            with h5py.File(path) as one, h5py.File(place.path / path) as other:
                for name in ("data", "label"):
                    np.testing.assert_array_equal(one[name][()], other[name][()])
