"""Several processes that read one LMDB at once, ours and BVLC's."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import together
from bvlc import Build
from recipes import write_lmdb

import caffe

COUNT, BATCH, BATCHES = 25, 4, 20  # records, and so many batches go three times around
NET = """
layer {
  name: "data" type: "Data" top: "data" top: "label"
  data_param { source: "db" batch_size: 4 backend: LMDB }
}
"""
# One of several readers. None goes on from its first batch before all have theirs: all have the
# database open at once.
READ = """
import os, sys, time
import numpy, caffe

def read(name, others, batches):
    net = caffe.Net("net.prototxt", caffe.TEST)
    found = []
    for number in range(batches):
        net.forward()
        found.append([net.blobs[blob].data.copy() for blob in ("data", "label")])
        if number == 0:
            open("has begun " + name, "w").close()
            deadline = time.time() + 60
            while not all(os.path.exists("has begun " + other) for other in others):
                assert time.time() < deadline, "the others have not begun"
                time.sleep(0.01)
    numpy.savez(name + ".npz", *[numpy.concatenate(each) for each in zip(*found)])
"""


def _read(folder: str, names: Sequence[str]) -> None:
    """What each process of ours does, by the name of its rank."""
    os.chdir(folder)
    there: dict[str, Any] = {}
    exec(READ, there)
    there["read"](names[caffe.solver_rank()], names, BATCHES)


def _records(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """An LMDB ``db`` and a net that reads it; what a reader has to find."""
    images = np.random.default_rng(0).integers(0, 256, (COUNT, 3, 40, 50), dtype=np.uint8)
    labels = np.arange(COUNT)
    write_lmdb(folder / "db", images, labels)
    (folder / "net.prototxt").write_text(NET)
    order = np.arange(BATCH * BATCHES) % COUNT
    return images[order].astype(np.float32), labels[order].astype(np.float32)


def _expect(folder: Path, names: Sequence[str], expected: tuple[np.ndarray, np.ndarray]) -> None:
    for name in names:
        with np.load(folder / f"{name}.npz") as found:
            np.testing.assert_array_equal(found["arr_0"], expected[0])
            np.testing.assert_array_equal(found["arr_1"], expected[1])


def test_three_processes_read_one_lmdb(tmp_path: Path) -> None:
    expected = _records(tmp_path)
    before = (tmp_path / "db" / "data.mdb").read_bytes()
    names = ["one", "two", "three"]
    together.values(together.run(_read, str(tmp_path), names, count=3))
    _expect(tmp_path, names, expected)
    assert (tmp_path / "db" / "data.mdb").read_bytes() == before


@pytest.mark.oracle
def test_bvlcs_build_reads_it_meanwhile(bvlc: Build) -> None:
    names = ["one", "two", "bvlc's"]
    with bvlc.workplace() as place, ThreadPoolExecutor(1) as other:
        expected = _records(place.path)
        script = f'{READ}\nread("bvlc\'s", {names!r}, {BATCHES})\n'
        theirs = other.submit(place.python, script)
        together.values(together.run(_read, str(place.path), names, count=2))
        theirs.result()
        _expect(place.path, names, expected)
