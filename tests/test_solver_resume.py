"""Going on from solver states: every type, either format, from BVLC to us and back."""

from __future__ import annotations

import io
import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from bvlc import Build
from small_nets import DATA, LOSS, ip, relu

import caffe
from caffe.proto import caffe_pb2
from recaffe.errors import CaffeError, FormatError, SolverError
from recaffe.proto.state import read_state

TYPES = {
    "SGD": "momentum: 0.9",
    "Nesterov": "momentum: 0.9",
    "AdaGrad": "delta: 1e-3",
    "RMSProp": "rms_decay: 0.7 delta: 1e-3",
    "AdaDelta": "momentum: 0.9 delta: 1e-3 base_lr: 1",
    "Adam": "momentum: 0.9 momentum2: 0.95 delta: 1e-3",
}
FORMATS = {"HDF5": ".h5", "BINARYPROTO": ""}
CASES = [(name, kind) for name in TYPES for kind in FORMATS]
BREAK, STEPS = 3, 8
WEIGHT = 'param { name: "w" lr_mult: 0.5 }'
NET = "".join(
    [DATA, ip("ip", "data", 3, WEIGHT), relu("relu", "ip"), ip("ip2", "ip", 3, WEIGHT), LOSS]
)
POLICY = 'lr_policy: "multistep" gamma: 0.7 stepvalue: [2, 2, 5] weight_decay: 0.05 random_seed: 1'
SCRIPT = """
import json, sys
from pathlib import Path
import numpy as np
import caffe

BREAK, STEPS = json.loads(Path("numbers.json").read_text())

def start(name):
    solver = caffe.get_solver(name + ".solver.prototxt")
    random = np.random.RandomState(5)
    solver.net.blobs["data"].data[...] = random.normal(size=(4, 3))
    solver.net.blobs["label"].data[...] = [0, 1, 2, 0]
    for layer in ("ip", "ip2"):
        for blob in solver.net.params[layer]:
            blob.data[...] = random.normal(size=blob.data.shape)
    return solver

def weights(solver):
    names = [("ip", 0), ("ip", 1), ("ip2", 1)]
    return np.concatenate([solver.net.params[n][i].data.ravel() for n, i in names])

def whole(name):
    # trains to the end, with a snapshot on the way
    solver, found = start(name), []
    for step in range(STEPS):
        if solver.iter == BREAK:
            solver.snapshot()
        solver.step(1)
        found.append(weights(solver))
    return np.array(found)

def resumed(name, ending):
    solver, found = start(name), []
    solver.restore("%s_iter_%d.solverstate%s" % (name, BREAK, ending))
    assert solver.iter == BREAK
    while solver.iter < STEPS:
        solver.step(1)
        found.append(weights(solver))
    return np.array(found)

def run(act):
    jobs = json.loads(Path("jobs.json").read_text())
    return {name: act(*([name] if act is whole else [name, ending])) for name, ending in jobs}
"""


def named(name: str, kind: str) -> str:
    return f"{name}-{kind}"


def prepared() -> dict[str, str]:
    files = {
        "net.prototxt": NET,
        "numbers.json": json.dumps([BREAK, STEPS]),
        "jobs.json": json.dumps([[named(name, kind), FORMATS[kind]] for name, kind in CASES]),
    }
    for name, kind in CASES:
        own = TYPES[name]
        rate = "" if "base_lr" in own else "base_lr: 0.2"
        files[f"{named(name, kind)}.solver.prototxt"] = (
            f'net: "net.prototxt" type: "{name}" {own} {rate} {POLICY} snapshot_format: {kind} '
            f'snapshot_prefix: "{named(name, kind)}"'
        )
    return files


def snapshot_names(name: str, kind: str) -> list[str]:
    stem, ending = f"{named(name, kind)}_iter_{BREAK}", FORMATS[kind]
    return [f"{stem}.caffemodel{ending}", f"{stem}.solverstate{ending}"]


def ours(folder: Path, act: str) -> dict[str, np.ndarray]:
    scope: dict = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        exec(compile(SCRIPT, "script", "exec"), scope)
        assert scope["caffe"] is caffe
        return scope["run"](scope[act])


@pytest.fixture(scope="module")
def here(tmp_path_factory) -> tuple[Path, dict[str, np.ndarray]]:
    """A folder with our snapshots of all cases, and our whole trajectories."""
    folder = tmp_path_factory.mktemp("ours")
    for name, text in prepared().items():
        (folder / name).write_text(text)
    return folder, ours(folder, "whole")


def test_all_types_and_formats_are_there():
    assert set(TYPES) == set(caffe_types())


def caffe_types() -> list[str]:
    return [name.removesuffix("Solver") for name in dir(caffe) if name.endswith("Solver")]


@pytest.fixture(scope="module")
def continued(here) -> dict[str, np.ndarray]:
    return ours(here[0], "resumed")


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_ours_goes_on_bit_equal(here, continued, name, kind):
    _, whole = here
    case = named(name, kind)
    np.testing.assert_array_equal(continued[case], whole[case][BREAK:])
    assert np.abs(np.diff(whole[case], axis=0)).max(axis=1).min() > 1e-4


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_states_tell_who_wrote_them(here, name, kind):
    folder, _ = here
    saved = read_state(folder / snapshot_names(name, kind)[1])
    assert (saved.iteration, saved.current_step, saved.solver_type) == (BREAK, 1, name)
    assert saved.learned_net == snapshot_names(name, kind)[0]


# -- with BVLC's build --------------------------------------------------------------------


@pytest.fixture(scope="module")
def theirs(bvlc: Build, tmp_path_factory, here):
    """BVLC's whole trajectories and snapshots, and how it goes on from ours."""
    folder = tmp_path_factory.mktemp("theirs")
    ending = 'np.savez("found.npz", **run({act}))'
    with bvlc.workplace(prepared()) as place:
        place.python(SCRIPT + ending.format(act="whole"))
        found = {"whole": read(place.path / "found.npz")}
        for case in CASES:
            for name in snapshot_names(*case):
                (folder / name).write_bytes((place.path / name).read_bytes())
                place.put(name, here[0] / name)
        place.python(SCRIPT + ending.format(act="resumed"))
        found["resumed"] = read(place.path / "found.npz")
    for name, text in prepared().items():
        (folder / name).write_text(text)
    return folder, found


def read(path: Path) -> dict[str, np.ndarray]:
    with np.load(io.BytesIO(path.read_bytes())) as found:
        return dict(found)


def assert_close(found: np.ndarray, expected: np.ndarray) -> None:
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-4 * np.abs(expected).max())


@pytest.mark.oracle
@pytest.mark.parametrize(("name", "kind"), CASES)
def test_bvlc_goes_on_from_ours(theirs, here, name, kind):
    _, found = theirs
    case = named(name, kind)
    assert_close(found["whole"][case], here[1][case])
    assert_close(found["resumed"][case], found["whole"][case][BREAK:])


@pytest.fixture(scope="module")
def from_theirs(theirs) -> dict[str, np.ndarray]:
    return ours(theirs[0], "resumed")


@pytest.mark.oracle
@pytest.mark.parametrize(("name", "kind"), CASES)
def test_we_go_on_from_bvlcs(theirs, from_theirs, name, kind):
    case = named(name, kind)
    assert_close(from_theirs[case], theirs[1]["whole"][case][BREAK:])


@pytest.mark.oracle
@pytest.mark.parametrize(("name", "kind"), CASES)
def test_states_hold_what_bvlcs_hold(theirs, here, name, kind):
    file = snapshot_names(name, kind)[1]
    expected, found = (read_state(folder / file) for folder in (theirs[0], here[0]))
    assert (expected.iteration, expected.current_step, expected.learned_net) == (
        found.iteration, found.current_step, found.learned_net)  # fmt: skip
    assert expected.solver_type == ""
    for ours_, theirs_ in zip(found.history, expected.history, strict=True):
        assert ours_.shape == theirs_.shape
        assert_close(ours_, theirs_)


# -- states that do not fit ---------------------------------------------------------------


def solver_of(folder: Path, name: str, kind: str, monkeypatch):
    monkeypatch.chdir(folder)
    return caffe.get_solver(f"{named(name, kind)}.solver.prototxt")


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize(
    ("written", "read_by"), [("AdaGrad", "SGD"), ("SGD", "RMSProp"), ("AdaDelta", "Adam")]
)
def test_a_state_of_another_type_is_told(here, monkeypatch, kind, written, read_by):
    solver = solver_of(here[0], read_by, kind, monkeypatch)
    before = [blob.data.copy() for blob in solver.net.params["ip"]]
    with pytest.raises(
        SolverError, match=f"solver of type '{written}', but this one is '{read_by}'"
    ):
        solver.restore(snapshot_names(written, kind)[1])
    assert solver.iter == 0
    for blob, values in zip(solver.net.params["ip"], before, strict=True):
        np.testing.assert_array_equal(blob.data, values)


@pytest.mark.parametrize("kind", FORMATS)
def test_momentum_is_momentum_with_nesterov_too(here, monkeypatch, kind):
    solver = solver_of(here[0], "Nesterov", kind, monkeypatch)
    solver.restore(snapshot_names("SGD", kind)[1])
    assert solver.iter == BREAK


def rewritten(path: Path, **changes) -> Path:
    """A binary state without the name of its type, as BVLC writes it, and with changes."""
    state = caffe_pb2.SolverState.FromString(path.read_bytes())
    state.DiscardUnknownFields()
    for name, value in changes.items():
        setattr(state, name, value)
    target = path.with_name(f"changed.{path.name}")
    target.write_bytes(state.SerializeToString())
    return target


def test_a_wrong_number_of_arrays_is_told(here, monkeypatch):
    solver = solver_of(here[0], "SGD", "BINARYPROTO", monkeypatch)
    path = rewritten(here[0] / snapshot_names("Adam", "BINARYPROTO")[1])
    with pytest.raises(SolverError, match="expected 3 blobs of 15 values, found 6 of 30"):
        solver.restore(path)


def test_shapes_of_an_hdf5_history_are_those_of_the_net(here, monkeypatch):
    """BVLC's build minds them there, and only the numbers of values in a binary state."""
    solver = solver_of(here[0], "SGD", "HDF5", monkeypatch)
    path = here[0] / "flat.solverstate.h5"
    path.write_bytes((here[0] / snapshot_names("SGD", "HDF5")[1]).read_bytes())
    with h5py.File(path, "r+") as file:
        values = file["history/0"][()].reshape(1, 1, 3, 3)
        del file["history/0"]
        file["history/0"] = values
    with pytest.raises(SolverError, match=r"history 0 has the shape \[1, 1, 3, 3\] instead"):
        solver.restore(path)
    binary = here[0] / snapshot_names("SGD", "BINARYPROTO")[1]
    state = caffe_pb2.SolverState.FromString(binary.read_bytes())
    state.history[0].shape.dim[:] = [1, 1, 3, 3]
    (here[0] / "flat.solverstate").write_bytes(state.SerializeToString())
    solver.restore(here[0] / "flat.solverstate")
    assert solver.iter == BREAK


def test_weights_of_the_other_format_are_found(here, monkeypatch):
    """A binary state may name HDF5 weights."""
    binary = here[0] / snapshot_names("SGD", "BINARYPROTO")[1]
    weights = snapshot_names("SGD", "HDF5")[0]
    solver = solver_of(here[0], "SGD", "BINARYPROTO", monkeypatch)
    solver.restore(rewritten(binary, learned_net=weights))
    np.testing.assert_array_equal(
        solver.net.params["ip"][0].data.ravel(), here[1]["SGD-HDF5"][BREAK - 1][:9])  # fmt: skip


def test_absent_states_and_weights_are_told(here, monkeypatch):
    solver = solver_of(here[0], "SGD", "BINARYPROTO", monkeypatch)
    with pytest.raises(FormatError, match=r"absent\.solverstate\.h5: no such file"):
        solver.restore("absent.solverstate.h5")
    path = rewritten(here[0] / snapshot_names("SGD", "BINARYPROTO")[1], learned_net="absent.h5")
    with pytest.raises(CaffeError, match=r"absent\.h5: no such file"):
        solver.restore(path)
    for kind in ("BINARYPROTO", "HDF5"):
        with pytest.raises(SolverError, match=r"names its weights by an empty path; leave"):
            solver.restore(without_name(here[0] / snapshot_names("SGD", kind)[1]))
    assert solver.iter == 0


def without_name(path: Path) -> Path:
    """A state whose ``learned_net`` is empty."""
    if path.suffix != ".h5":
        return rewritten(path, learned_net="")
    target = path.with_name(f"unnamed.{path.name}")
    target.write_bytes(path.read_bytes())
    with h5py.File(target, "r+") as file:
        del file["learned_net"]
        file["learned_net"] = np.bytes_(b"\0")
    return target


def test_a_state_without_weights_keeps_those_of_the_net(here, monkeypatch):
    solver = solver_of(here[0], "SGD", "BINARYPROTO", monkeypatch)
    before = solver.net.params["ip"][0].data.copy()
    path = rewritten(here[0] / snapshot_names("SGD", "BINARYPROTO")[1])
    state = caffe_pb2.SolverState.FromString(path.read_bytes())
    state.ClearField("learned_net")
    path.write_bytes(state.SerializeToString())
    solver.restore(path)
    assert solver.iter == BREAK
    np.testing.assert_array_equal(solver.net.params["ip"][0].data, before)


UNNAMED = """
import os, sys
import caffe
statuses = []
for name in sys.argv[1:]:
    child = os.fork()
    if child == 0:
        os.dup2(os.open("/dev/null", os.O_WRONLY), 2)
        caffe.get_solver("solver.prototxt").restore(name)
        os._exit(0)
    statuses.append(os.waitpid(child, 0)[1])
print(statuses)
"""


@pytest.mark.oracle
def test_bvlc_refuses_an_empty_name_of_weights(bvlc: Build, here):
    paths = [without_name(here[0] / snapshot_names("SGD", kind)[1])
             for kind in ("BINARYPROTO", "HDF5")]  # fmt: skip
    files = {path.name: path for path in paths}
    files |= {
        "net.prototxt": here[0] / "net.prototxt",
        "solver.prototxt": here[0] / f"{named('SGD', 'BINARYPROTO')}.solver.prototxt",
    }
    names = [path.name for path in paths]
    assert bvlc.python(UNNAMED, *names, files=files).json() == [6, 6]
