"""extract_features: its data sets by hand, beside BVLC's program, and read by data layers."""

from __future__ import annotations

from pathlib import Path

import h5py
import lmdb
import numpy as np
import plyvel
import pytest
from bvlc import Build
from programs import assert_mistake_within, program
from recipes import write_lmdb

import caffe
from caffe.proto import caffe_pb2
from caffetools.programs.extract_features import float_datums

NET = """
layer { name: "data" type: "Data" top: "data" top: "label"
  data_param { source: "images" batch_size: 4 backend: LMDB } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "group/conv"
  convolution_param { num_output: 2 kernel_size: 3 weight_filler { type: "gaussian" std: 1 } } }
layer { name: "ip" type: "InnerProduct" bottom: "group/conv" top: "ip"
  inner_product_param { num_output: 5 weight_filler { type: "gaussian" std: 1 } } }
layer { name: "five" type: "Reshape" bottom: "ip" top: "five"
  reshape_param { shape { dim: 0 dim: 1 dim: 1 dim: 1 dim: -1 } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""
ASKED = ("net.caffemodel", "net.prototxt", "group/conv,ip,label", "conv,ip,labels", "3")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an LMDB of seven images, a net and weights."""
    monkeypatch.chdir(tmp_path)
    images = np.random.default_rng(2).integers(0, 9, (7, 3, 6, 5), dtype=np.uint8)
    write_lmdb(tmp_path / "images", images, np.arange(7) % 5)
    (tmp_path / "net.prototxt").write_text(NET)
    caffe.set_random_seed(3)
    caffe.Net("net.prototxt", caffe.TEST).save("net.caffemodel")
    return tmp_path


def of_lmdb(folder: Path) -> list[tuple[bytes, bytes]]:
    with lmdb.open(str(folder), readonly=True, lock=False) as database, database.begin() as view:
        return list(view.cursor())


def of_leveldb(folder: Path) -> list[tuple[bytes, bytes]]:
    database = plyvel.DB(str(folder))
    found = list(database)
    database.close()
    return found


def expected(name: str) -> np.ndarray:
    """The blob in three batches, of which the second goes on with the first image."""
    net = caffe.Net("net.prototxt", "net.caffemodel", caffe.TEST)
    batches = []
    for _ in range(3):
        net.forward()
        batches.append(net.blobs[name].data.copy())
    return np.concatenate(batches)


@pytest.mark.parametrize("kind", ["lmdb", "leveldb"])
def test_a_database_holds_an_item_a_record(here: Path, kind: str) -> None:
    done = program(here, "extract_features", *ASKED, kind)
    assert done.returncode == 0, done.stderr
    for name, place in (("group/conv", "conv"), ("ip", "ip"), ("label", "labels")):
        found = of_lmdb(here / place) if kind == "lmdb" else of_leveldb(here / place)
        assert [key for key, _ in found] == [b"%010d" % index for index in range(12)]
        wanted = expected(name)
        for (_, value), item in zip(found, wanted, strict=True):
            datum = caffe_pb2.Datum.FromString(value)
            assert (datum.channels, datum.height, datum.width) == (*item.shape, 1, 1, 1)[:3]
            np.testing.assert_array_equal(np.array(datum.float_data, "f"), item.ravel())


def test_hdf5_is_read_by_an_hdf5_data_layer(here: Path) -> None:
    asked = [*ASKED[:2], "group/conv,five", "a/conv.h5,five.h5", "3", "hdf5", "CPU"]
    assert program(here, "extract_features", *asked).returncode == 0
    with h5py.File("a/conv.h5") as file:
        np.testing.assert_array_equal(file["group_conv"], expected("group/conv"))
    with h5py.File("five.h5") as file:
        assert file["five"].shape == (12, 1, 1, 1, 5)
    (here / "list").write_text("a/conv.h5\n")
    (here / "reader.prototxt").write_text(
        'layer { name: "d" type: "HDF5Data" top: "group_conv" '
        'hdf5_data_param { source: "list" batch_size: 12 } }'
    )
    reader = caffe.Net("reader.prototxt", caffe.TEST)
    reader.forward()
    np.testing.assert_array_equal(reader.blobs["group_conv"].data, expected("group/conv"))


def test_datums_are_protobufs_own_bytes() -> None:
    features = np.random.default_rng(0).normal(size=(3, 2, 4, 5)).astype("f")
    features[0, 0, 0, :3] = np.nan, -np.inf, -0.0
    for value, item in zip(float_datums(features), features, strict=True):
        datum = caffe_pb2.Datum(channels=2, height=4, width=5, float_data=item.ravel())
        assert value == datum.SerializeToString(deterministic=True)


@pytest.mark.oracle
@pytest.mark.parametrize("kind", ["lmdb", "leveldb"])
def test_databases_are_bvlcs_byte_by_byte(bvlc: Build, here: Path, kind: str) -> None:
    asked = [*ASKED, kind]
    files = {name: here / name for name in ("images", "net.prototxt", "net.caffemodel")}
    assert program(here, "extract_features", *asked).returncode == 0
    read = of_lmdb if kind == "lmdb" else of_leveldb
    with bvlc.workplace(files) as place:
        place.run(["extract_features", *asked])
        theirs = {name: read(place.path / name) for name in ("conv", "ip", "labels")}
    with bvlc.workplace(files) as place:
        place.module("caffetools.programs", "extract_features", *asked)
        on_bvlc = {name: read(place.path / name) for name in ("conv", "ip", "labels")}
    assert on_bvlc == theirs
    for name in ("conv", "ip"):  # sums are made in another order
        mine = read(here / name)
        assert [key for key, _ in mine] == [key for key, _ in theirs[name]]
        for (_, one), (_, other) in zip(mine, theirs[name], strict=True):
            assert len(one) == len(other)
            floats = [caffe_pb2.Datum.FromString(value).float_data for value in (one, other)]
            np.testing.assert_allclose(*map(np.array, floats), rtol=1e-5, atol=1e-5)
    assert read(here / "labels") == theirs["labels"]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({2: "conv,bogus", 3: "a,b"}, "no blob conv, bogus in the net"),
        ({2: "ip,label"}, "2 blob(s), ip,label, and 3 data set(s)"),
        ({3: "a,b,a"}, "a data set of its own"),
        ({3: "a,images,b"}, "images: is there already"),
        ({4: "0"}, "expected at least 1, found 0"),
        ({4: "many"}, "invalid"),
        ({5: "csv"}, "invalid choice: 'csv'"),
        ({0: "bogus"}, "bogus: no such caffemodel"),
        ({1: "bogus"}, "bogus: no such prototxt"),
        ({2: "ip,loss,label"}, "blob loss is a single number"),
        ({2: "ip,five,label"}, "more axes than a Datum"),
        ({6: "GPU", 7: "one"}, "DEVICE_ID 'one'"),
        ({6: "GPU", 7: "DEVICE_ID=77"}, "GPU 77 was asked for"),
    ],
    ids=str,
)
def test_mistakes(here: Path, changed: dict[int, str], words: str) -> None:
    asked = [*ASKED, "lmdb", *("CPU", "0")]
    for index, value in changed.items():
        asked[index] = value
    before = sorted(here.iterdir())
    assert_mistake_within(here, words, "extract_features", *asked)
    assert sorted(here.iterdir()) == before
