"""Weights and solver states as HDF5: written, read, damaged, and held against BVLC's build."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from bvlc import Build
from small_nets import DATA, LOSS, filled, ip

from recaffe.errors import CaffeError, FormatError, ShapeMismatchError
from recaffe.net import load_weights, save_weights
from recaffe.proto import hdf5
from recaffe.proto.schema import SolverState

# Both layers have one weight, which the first one owns.
WEIGHT = 'param { name: "w" }'
NET = DATA + ip("ip", "data", 3, WEIGHT) + ip("ip2", "ip", 3, WEIGHT) + LOSS


def tree(path: Path) -> dict[str, list[int]]:
    """Every dataset's name and shape."""
    found = {}
    with h5py.File(path) as file:
        file.visititems(
            lambda name, item: (
                found.update({name: list(item.shape)}) if isinstance(item, h5py.Dataset) else None
            )
        )
    return found


def params(net) -> list[np.ndarray]:
    return [blob.data.copy() for blobs in net.params.values() for blob in blobs]


def test_weights_come_back_and_shared_ones_are_stored_once(tmp_path):
    net, other = filled(NET), filled(NET)
    path = tmp_path / "w.caffemodel.h5"
    save_weights(net, path)
    assert tree(path) == {"data/ip/0": [3, 3], "data/ip/1": [3], "data/ip2/1": [3]}
    assert (params(net)[0] != params(other)[0]).any()
    load_weights(other, path)
    for found, expected in zip(params(other), params(net), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert other.params["ip"][0] is other.params["ip2"][0]


def test_diffs_are_stored_at_every_layer(tmp_path):
    net = filled(NET)
    for blob in net.learnable:
        blob.diff[...] = 7
    path = tmp_path / "w.caffemodel.h5"
    save_weights(net, path, with_diff=True)
    assert set(tree(path)) - {"data/ip/0", "data/ip/1", "data/ip2/1"} == {
        "diff/ip/0", "diff/ip/1", "diff/ip2/0", "diff/ip2/1"}  # fmt: skip
    with h5py.File(path) as file:
        assert (file["diff/ip2/0"][()] == 7).all()


def test_the_content_tells_the_format_and_not_the_name(tmp_path):
    net, other = filled(NET), filled(NET)
    save_weights(net, tmp_path / "w.h5")
    (tmp_path / "w.h5").rename(tmp_path / "w.caffemodel")
    load_weights(other, tmp_path / "w.caffemodel")
    np.testing.assert_array_equal(params(other)[0], params(net)[0])
    save_weights(net, tmp_path / "w.caffemodel")
    (tmp_path / "w.caffemodel").rename(tmp_path / "w.h5")
    other.learnable[0].data[...] = 0
    load_weights(other, tmp_path / "w.h5")
    np.testing.assert_array_equal(params(other)[0], params(net)[0])


def test_a_state_comes_back(tmp_path):
    path = tmp_path / "s.solverstate.h5"
    state = SolverState(iter=7, learned_net="ä/w.caffemodel.h5", current_step=2)
    history = [np.arange(6, dtype=np.float32).reshape(2, 3), np.float32([1])]
    hdf5.write_state(path, state, history)
    read, arrays = hdf5.read_state(path)
    assert read == state
    for found, expected in zip(arrays, history, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_the_same_values_give_the_same_bytes(tmp_path):
    net = filled(NET)
    state = SolverState(iter=7, learned_net="w", current_step=2)
    for name in ("a", "b"):
        save_weights(net, tmp_path / f"{name}.h5")
        hdf5.write_state(tmp_path / f"{name}.state", state, [np.ones(3)])
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()
    assert (tmp_path / "a.state").read_bytes() == (tmp_path / "b.state").read_bytes()


def test_other_numbers_are_taken_as_floats(tmp_path):
    net, path = filled(NET), tmp_path / "w.h5"
    save_weights(net, path)
    for dtype in ("f8", "f2", "i4", "u1"):
        alter(path, replaced("data/ip/0", np.full((3, 3), 3, dtype)))
        load_weights(net, path)
        assert (net.learnable[0].data == 3).all()
        net.learnable[0].data[...] = 0


def test_a_file_that_failed_to_be_written_leaves_the_old_one(tmp_path):
    path = tmp_path / "w.h5"
    path.write_bytes(b"old")
    with pytest.raises(FormatError, match=r"w\.h5: the layer name 'a/b' cannot be a name in HDF5"):
        save_weights(filled(NET.replace('name: "ip"', 'name: "a/b"')), path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


# -- files that are not as they should be -------------------------------------------------


def alter(path: Path, change) -> None:
    with h5py.File(path, "r+") as file:
        change(file)


def replaced(name: str, value):
    def change(file):
        del file[name]
        file[name] = value

    return change


def group(name: str):
    return lambda file: file.create_group(name)


def without(name: str):
    return lambda file: file.__delitem__(name)


def endless(file):
    del file["data/ip/0"]
    file.create_dataset("data/ip/0", shape=(1 << 20, 1 << 20), dtype="f4", chunks=(1, 1024))


def hollow(file):
    del file["data/ip/0"]
    file.create_dataset("data/ip/0", shape=(30000, 30000), dtype="f4", chunks=(100, 100))


def bomb(file):
    del file["data/ip/0"]
    made = file.create_dataset(
        "data/ip/0", (30000, 30000), "f4", chunks=(1000, 1000), compression="gzip"
    )
    made[0, 0] = 1


def elsewhere(file):
    del file["data/ip/0"]
    file.create_dataset("data/ip/0", (3, 3), "f4", external=[("/etc/hostname", 0, 36)])


def linked(link):
    def change(file):
        del file["data/ip/0"]
        file["data/ip/0"] = link

    return change


DAMAGED = {
    # what is done to a good file, and what is said of it
    "no data": (without("data"), "no 'data' in /; is this another program's"),
    "data is no group": (replaced("data", np.ones(3)), "expected 'data' in / to be a group"),
    "a layer is no group": (
        replaced("data/ip", np.ones(3)), "expected 'ip' in /data to be a group"),
    "a blob is a group": (group("data/ip/2"), "'2' in /data/ip to be a dataset"),
    "texts": (replaced("data/ip/0", np.array([b"abc"])), "not numbers"),
    "truths": (replaced("data/ip/0", np.ones((3, 3), bool)), "not numbers"),
    "nothing": (replaced("data/ip/0", h5py.Empty("f4")), "/data/ip/0 holds no values"),
    "no index": (group("data/ip/x"), "layer 'ip': 'x' is no blob's index"),
    "two names of an index": (group("data/ip/00"), "'00' is no blob's index"),
    "endless": (endless, "cannot have the shape"),
    "hollow": (hollow, "should have 3600000000 bytes, but 0 are there"),
    "bomb": (bomb, "larger than a file of this size can mean"),
    "other file's values": (elsewhere, "keeps its values in another file"),
    "soft link": (linked(h5py.SoftLink("/data/ip/1")), "points elsewhere"),
    "external link": (linked(h5py.ExternalLink("w2.h5", "/data/ip/0")), "points elsewhere"),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGED)
def test_what_is_no_caffemodel_is_told_and_changes_nothing(tmp_path, name):
    change, says = DAMAGED[name]
    net, path = filled(NET), tmp_path / "w.h5"
    save_weights(net, path)
    alter(path, change)
    before = params(net)
    with pytest.raises(FormatError, match=says) as told:
        load_weights(net, path)
    assert str(path) in str(told.value)
    for found, expected in zip(params(net), before, strict=True):
        np.testing.assert_array_equal(found, expected)


MISFITS = {
    "a shape": (replaced("data/ip/0", np.ones((9, 1))), "blob 0: the file holds the shape"),
    "a blob too many": (lambda f: f["data/ip"].create_dataset("2", data=[1.0]), "holds 3 blob"),
    "an owner's blob absent": (without("data/ip/0"), r"holds the blobs \[1\]"),
    "a last blob absent": (without("data/ip/1"), r"holds 1 blob\(s\), the net's"),
    "blobs for a layer without": (
        lambda f: f.create_dataset("data/l/0", data=[1.0]), "'l' holds 1 blob"),
}  # fmt: skip


@pytest.mark.parametrize("name", MISFITS)
def test_weights_that_do_not_fit_are_told_and_change_nothing(tmp_path, name):
    change, says = MISFITS[name]
    net, path = filled(NET), tmp_path / "w.h5"
    save_weights(net, path)
    alter(path, change)
    before = params(net)
    with pytest.raises(ShapeMismatchError, match=says):
        load_weights(net, path)
    for found, expected in zip(params(net), before, strict=True):
        np.testing.assert_array_equal(found, expected)


STATE_DAMAGE = {
    "no iter": (without("iter"), "no 'iter'"),
    "no current_step": (without("current_step"), "no 'current_step'"),
    "no history": (without("history"), "no 'history'"),
    "a gap": (without("history/0"), "no '0' in /history"),
    "iter is a float": (replaced("iter", 3.5), "expected 'iter' to be one integer"),
    "iter is two": (replaced("iter", [1, 2]), "expected 'iter' to be one integer"),
    "iter is negative": (replaced("iter", -1), "iter is -1"),
    "learned_net is a number": (replaced("learned_net", 3), "expected 'learned_net' to be a text"),
    "learned_net is no text": (
        replaced("learned_net", np.bytes_(b"\xff\xfe")), "not a whole solver"),
}  # fmt: skip


@pytest.mark.parametrize("name", STATE_DAMAGE)
def test_what_is_no_state_is_told(tmp_path, name):
    change, says = STATE_DAMAGE[name]
    path = tmp_path / "s.solverstate.h5"
    hdf5.write_state(path, SolverState(iter=1, learned_net="w"), [np.ones(3), np.ones(2)])
    alter(path, change)
    with pytest.raises(FormatError, match=says) as told:
        hdf5.read_state(path)
    assert str(path) in str(told.value)


def test_weights_and_states_in_one_anothers_place_are_told(tmp_path):
    save_weights(filled(NET), tmp_path / "w.h5")
    hdf5.write_state(tmp_path / "s.h5", SolverState(iter=1), [])
    with pytest.raises(FormatError, match="these are weights, not a solver state"):
        hdf5.read_state(tmp_path / "w.h5")
    with pytest.raises(FormatError, match="this is a solver state, not weights"):
        hdf5.read_weights(tmp_path / "s.h5")


def test_absent_files_and_folders_are_told(tmp_path):
    for read in (hdf5.read_weights, hdf5.read_state):
        with pytest.raises(FormatError, match="no such file"):
            read(tmp_path / "absent.h5")
        with pytest.raises(FormatError, match="not a file"):
            read(tmp_path)


@pytest.mark.parametrize("kind", ["weights", "state"])
def test_cut_and_mutated_files_never_crash(tmp_path, kind):
    """All truncations would be many: every 97th, and a few hundred mutants of random bytes."""
    path = tmp_path / f"{kind}.h5"
    if kind == "weights":
        save_weights(filled(NET), path)
    else:
        hdf5.write_state(path, SolverState(iter=1, learned_net="w"), [np.ones(3), np.ones(2)])
    read = hdf5.read_weights if kind == "weights" else hdf5.read_state
    whole, random = path.read_bytes(), np.random.default_rng(0)
    for length in range(0, len(whole), 97):
        path.write_bytes(whole[:length])
        with pytest.raises(FormatError):
            read(path)
    survived = 0
    for _ in range(400):
        mutant = bytearray(whole)
        for at in random.integers(0, len(whole), random.integers(1, 9)):
            mutant[at] = random.choice([0, 1, 0x7F, 0x80, 0xFF, int(random.integers(256))])
        path.write_bytes(mutant)
        try:
            read(path)
            survived += 1
        except FormatError:
            pass
    assert 0 < survived < 400


BESIDE = {
    # what another program has put into a good file, beside the layers of the net
    "no index": lambda f: f.create_dataset("data/q/weird", data=[1.0]),
    "no group": lambda f: f.create_dataset("data/q", data=[1.0]),
    "groups too deep": lambda f: f.create_dataset("data/q/0/x", data=[1.0]),
    "a name with a slash": lambda f: f.create_dataset("data/q/d/0", data=[1.0]),
    "texts": lambda f: f.create_dataset("data/q/0", data=np.array([b"abc"])),
    "nothing": lambda f: f.create_dataset("data/q/0", data=h5py.Empty("f4")),
    "a blob of two": lambda f: f.create_dataset("data/q/1", data=[1.0]),
    "a link": lambda f: f["data"].__setitem__("q", h5py.SoftLink("/nowhere")),
}


@pytest.mark.parametrize("name", BESIDE)
def test_what_is_no_layer_of_the_net_may_be_anything(tmp_path, name):
    net, other, path = filled(NET), filled(NET), tmp_path / "w.h5"
    save_weights(net, path)
    alter(path, BESIDE[name])
    assert list(load_weights(other, path).ignored) == ["q"]
    for found, expected in zip(params(other), params(net), strict=True):
        np.testing.assert_array_equal(found, expected)


# -- with BVLC's build --------------------------------------------------------------------

SCRIPT = """
import sys
import numpy as np
import caffe
net = caffe.Net("net.prototxt", caffe.TRAIN)
net.copy_from("ours.caffemodel.h5")
np.savez("read.npz", *[blob.data for blobs in net.params.values() for blob in blobs])
for blobs in net.params.values():
    for index, blob in enumerate(blobs):
        blob.data[...] = np.arange(blob.count).reshape(blob.data.shape) + index
net.save_hdf5("theirs.caffemodel.h5")
"""


@pytest.mark.oracle
def test_weights_go_to_bvlc_and_back(bvlc: Build, tmp_path: Path) -> None:
    net = filled(NET)
    save_weights(net, tmp_path / "ours.caffemodel.h5")
    result = bvlc.python(
        SCRIPT,
        files={"net.prototxt": NET, "ours.caffemodel.h5": tmp_path / "ours.caffemodel.h5"},
        fetch=["read.npz", "theirs.caffemodel.h5"],
    )
    for name, data in result.files.items():
        (tmp_path / name).write_bytes(data)
    with np.load(tmp_path / "read.npz") as read:
        for name, expected in zip(read.files, params(net), strict=True):
            np.testing.assert_array_equal(read[name], expected)
    assert tree(tmp_path / "theirs.caffemodel.h5") == tree(tmp_path / "ours.caffemodel.h5")
    load_weights(net, tmp_path / "theirs.caffemodel.h5")
    np.testing.assert_array_equal(net.params["ip"][0].data, np.arange(9).reshape(3, 3))
    np.testing.assert_array_equal(net.params["ip2"][1].data, np.arange(3) + 1)


REFUSED = """
import os, sys
import caffe
for name in sorted(os.listdir(".")):
    if name.startswith("case"):
        child = os.fork()
        if child == 0:
            os.dup2(os.open("/dev/null", os.O_WRONLY), 2)
            caffe.Net("net.prototxt", caffe.TRAIN).copy_from(name)
            os._exit(0)
        print(name, os.waitpid(child, 0)[1])
"""
# BVLC follows links, and would reserve whatever it is told to.
NOT_ASKED = {"hollow", "bomb", "endless", "other file's values", "soft link", "external link"}


@pytest.mark.oracle
def test_what_bvlc_refuses_is_refused(bvlc: Build, tmp_path: Path) -> None:
    files: dict = {"net.prototxt": NET}
    names = {}
    for index, (name, (change, _)) in enumerate([*DAMAGED.items(), *MISFITS.items()]):
        if name in NOT_ASKED:
            continue
        path = tmp_path / f"case{index:02}.h5"
        save_weights(filled(NET), path)
        alter(path, change)
        files[path.name], names[path.name] = path, name
    lines = bvlc.python(REFUSED, files=files).stdout.splitlines()
    statuses = {names[line.split()[0]]: int(line.split()[1]) for line in lines}
    assert len(statuses) == len(names) > 8
    for file in names:
        with pytest.raises(CaffeError):
            load_weights(filled(NET), tmp_path / file)
    assert {name for name, status in statuses.items() if status == 0} == set()


@pytest.mark.oracle
def test_bvlc_ignores_what_is_no_layer_of_the_net(bvlc: Build, tmp_path: Path) -> None:
    files: dict = {"net.prototxt": NET}
    for index, change in enumerate(BESIDE.values()):
        path = tmp_path / f"case{index}.h5"
        save_weights(filled(NET), path)
        alter(path, change)
        files[path.name] = path
    lines = bvlc.python(REFUSED, files=files).stdout.splitlines()
    assert [line.split()[1] for line in lines] == ["0"] * len(BESIDE)
