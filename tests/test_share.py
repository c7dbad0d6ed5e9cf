"""Which records each of several solvers reads, as BVLC's build answers, and wrong ranks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
from bvlc import Build
from bvlc_questions import ask
from recipes import write_lmdb

import caffe
from recaffe.context import context
from recaffe.errors import LayerError

RECORDS = 7
DATA = """
layer { name: "d" type: "Data" top: "data" top: "x"
  data_param { source: "db" batch_size: %d backend: LMDB } }
"""
HDF5 = """
layer { name: "d" type: "HDF5Data" top: "x" hdf5_data_param { source: "%s" batch_size: %%d } }
"""
# Files of 5 and 3 rows, and one of 5 alone.
NETS = {"Data": DATA, "HDF5Data": HDF5 % "both", "one file": HDF5 % "one"}
PLACES = [(count, rank) for count in (1, 2, 3) for rank in range(count)]


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    write_lmdb(Path("db"), np.zeros((RECORDS, 1, 1, 1), np.uint8), np.arange(RECORDS))
    for name, first, rows in (("a.h5", 0, 5), ("b.h5", 10, 3)):
        with h5py.File(name, "w") as file:
            file["x"] = np.arange(first, first + rows, dtype=np.float32)
    Path("both").write_text("a.h5\nb.h5\n")
    Path("one").write_text("a.h5\n")
    yield
    context.solver_count, context.solver_rank = 1, 0


def read(
    text: str, batch_size: int, count: int, rank: int, phase: int = caffe.TRAIN, total: int = 42
) -> list[int]:
    """What the layer's tops hold, until ``total`` records came."""
    caffe.set_solver_count(count)
    caffe.set_solver_rank(rank)
    Path("net.prototxt").write_text(text % batch_size)
    net = caffe.Net("net.prototxt", phase)
    found: list[int] = []
    while len(found) < total:
        net.forward()
        found += net.blobs["x"].data.astype(int).tolist()
    return found[:total]


@pytest.mark.parametrize("batch_size", [1, 2, 3, 10])
@pytest.mark.parametrize(("count", "rank"), PLACES)
def test_a_solver_reads_each_record_whose_number_is_its_rank(count, rank, batch_size):
    for name, order in (
        ("Data", range(RECORDS)), ("HDF5Data", [0, 1, 2, 3, 4, 10, 11, 12]), ("one file", range(5)),
    ):  # fmt: skip
        endless = list(order) * 42 * count
        found = read(NETS[name], batch_size, count, rank)
        assert found == endless[rank::count][:42], name


@pytest.mark.parametrize("name", NETS)
def test_every_solver_reads_everything_in_a_test_net(name):
    alone = read(NETS[name], 2, 1, 0)
    assert read(NETS[name], 2, 3, 2, caffe.TEST) == alone
    assert read(NETS[name].replace('"x"', '"x" phase: TEST'), 2, 3, 2) == alone


def test_more_solvers_than_a_file_has_rows():
    assert read(NETS["one file"], 2, 7, 6, total=6) == [1, 3, 0, 2, 4, 1]


def test_shuffled_rows_are_shared_out_too():
    shuffled = NETS["HDF5Data"].replace("%d", "%d shuffle: true")
    found = read(shuffled, 4, 2, 1, total=4000)
    counts = np.bincount(found, minlength=13)
    assert set(np.flatnonzero(counts)) == {0, 1, 2, 3, 4, 10, 11, 12}
    assert np.ptp(counts[counts > 0]) < 150


@pytest.mark.parametrize(("count", "rank"), [(2, 2), (2, -1), (0, 0)])
@pytest.mark.parametrize("name", NETS)
def test_a_rank_that_the_count_has_no_place_for_is_refused(name, count, rank):
    """BVLC's build reads on forever, or divides by zero."""
    with pytest.raises(
        LayerError, match=rf"'d' .* solver_rank {rank} where solver_count is {count}"
    ):
        read(NETS[name], 2, count, rank)


QUESTION = """
import lmdb, h5py
environment = lmdb.open("db", map_size=1 << 24)
with environment.begin(write=True) as transaction:
    for index in range(7):
        datum = caffe_pb2.Datum(channels=1, height=1, width=1, label=index, data=b"a")
        transaction.put(b"%08d" % index, datum.SerializeToString())
environment.close()
for name, first, rows in (("a.h5", 0, 5), ("b.h5", 10, 3)):
    with h5py.File(name, "w") as file:
        file["x"] = np.arange(first, first + rows, dtype="f")
for name, text in (("both", "a.h5 b.h5"), ("one", "a.h5")):
    with open(name, "w") as stream:
        stream.write(text)
nets, places = json.loads(sys.argv[1])
answer = []
for text in nets:
    for count, rank in places:
        caffe.set_solver_count(count)
        caffe.set_solver_rank(rank)
        for phase in (caffe.TRAIN, caffe.TEST):
            for batch_size in (1, 2, 3, 10):
                made = net(text % batch_size, phase)
                found = []
                while len(found) < 42:
                    made.forward()
                    found += made.blobs["x"].data.ravel().astype(int).tolist()
                answer.append(found[:42])
"""


@pytest.mark.oracle
def test_shares_are_bvlcs(bvlc: Build):
    theirs = ask(bvlc, QUESTION, json.dumps([list(NETS.values()), PLACES]))
    ours = [
        read(text, batch_size, count, rank, phase)
        for text in NETS.values()
        for count, rank in PLACES
        for phase in (caffe.TRAIN, caffe.TEST)
        for batch_size in (1, 2, 3, 10)
    ]
    assert ours == theirs
    assert len(ours) == 3 * 6 * 2 * 4


OTHERS = """
import cv2
answer = []
for index in range(4):
    cv2.imwrite("%d.png" % index, np.full((2, 2, 3), index, "u1"))
with open("list", "w") as stream:
    stream.write("".join("%d.png %d\\n" % (index, index) for index in range(4)))
text = 'layer { name: "d" type: "ImageData" top: "data" top: "x" '
text += 'image_data_param { source: "list" batch_size: 3 } }'
memory = 'layer { name: "d" type: "MemoryData" top: "data" top: "x" '
memory += 'memory_data_param { batch_size: 2 channels: 1 height: 1 width: 1 } }'
for rank in (0, 1):
    caffe.set_solver_count(2)
    caffe.set_solver_rank(rank)
    for made in (net(text, caffe.TRAIN), net(memory, caffe.TRAIN)):
        if made.layers[0].type == "MemoryData":
            made.set_input_arrays(np.zeros((4, 1, 1, 1), "f"), np.arange(4, dtype="f"))
        found = []
        for _ in range(2):
            made.forward()
            found += made.blobs["x"].data.ravel().astype(int).tolist()
        answer.append(found)
"""


@pytest.mark.oracle
def test_images_and_arrays_are_not_shared_out_in_bvlcs_build_either(bvlc: Build):
    assert ask(bvlc, OTHERS) == [[0, 1, 2, 3, 0, 1], [0, 1, 2, 3]] * 2
    namespace: dict[str, object] = {"caffe": caffe, "np": np, "net": _net}
    exec(OTHERS, namespace)
    assert namespace["answer"] == [[0, 1, 2, 3, 0, 1], [0, 1, 2, 3]] * 2


def _net(text: str, phase: int) -> caffe.Net:
    Path("net.prototxt").write_text(text)
    return caffe.Net("net.prototxt", phase)
