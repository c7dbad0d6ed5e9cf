"""A run that goes on from a snapshot gives, bit for bit, the numbers of one that never stopped."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
from bvlc import Build
from layer_cases.sources import write_windows
from recipes import write_lmdb

import caffe
from recaffe.context import context
from recaffe.errors import CaffeError, FormatError
from recaffe.proto.state import read_state, write_state
from recaffe.proto.text import read_solver
from recaffe.solver import Action, make_solver

COUNT, SIZE, BATCH = 11, 10, 4
IMAGES = np.random.default_rng(0).integers(0, 256, (COUNT, 3, SIZE, SIZE), np.uint8)
LABELS = np.arange(COUNT) % 3
BEFORE, AFTER = 5, 7
TRANSFORM = "transform_param { crop_size: 6 mirror: true scale: 0.01 %s }"
AUGMENTATION = (
    "augmentation { min_area: 0.3 min_aspect: 0.7 max_aspect: 1.4 rotation: 20 brightness: 0.2 "
    "contrast: 0.3 saturation: 0.4 hue: 0.1 }"
)
LMDB = 'source: "lmdb" backend: LMDB'
# Each reader with all that is random about it; batches that do not divide what there is.
READERS = {
    "Data": f"data_param {{ {LMDB} batch_size: 4 }} {TRANSFORM % ''}",
    "Data shuffled": f"data_param {{ {LMDB} batch_size: 4 shuffle: true }} {TRANSFORM % ''}",
    "Data augmented": f"data_param {{ {LMDB} batch_size: 4 }} {TRANSFORM % AUGMENTATION}",
    "ImageData": 'image_data_param { source: "list" batch_size: 4 shuffle: true rand_skip: 6 } '
    + TRANSFORM % "",
    "ImageData in order": 'image_data_param { source: "list" batch_size: 4 } ' + TRANSFORM % "",
    "HDF5Data": 'hdf5_data_param { source: "h5" batch_size: 4 shuffle: true }',
    "HDF5Data in order": 'hdf5_data_param { source: "h5" batch_size: 4 }',
    "WindowData": 'window_data_param { source: "windows" batch_size: 4 fg_fraction: 0.5 } '
    "transform_param { crop_size: 6 mirror: true }",
    "DummyData": "dummy_data_param { shape { dim: 4 dim: 3 dim: 6 dim: 6 } shape { dim: 4 } "
    'data_filler { type: "gaussian" std: 1 } data_filler { type: "uniform" min: 0 max: 2.99 } }',
}
NET = """
layer { name: "data" type: "%s" top: "data" top: "label" %s }
layer { name: "drop" type: "Dropout" bottom: "data" top: "data" }
layer { name: "fc" type: "InnerProduct" bottom: "data" top: "fc"
        inner_product_param { num_output: 3 weight_filler { type: "gaussian" std: 0.1 } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" top: "loss" }
"""
SOLVER = (
    'net: "net" base_lr: 0.1 momentum: 0.9 lr_policy: "fixed" snapshot_prefix: "s" random_seed: 3 '
    "test_iter: 3 test_interval: 2 test_initialization: false "
)


@pytest.fixture(autouse=True)
def _data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_lmdb(Path("lmdb"), IMAGES, LABELS)
    for index, image in enumerate(IMAGES):
        cv2.imwrite(f"{index}.png", image.transpose(1, 2, 0))
    Path("list").write_text("".join(f"{i}.png {label}\n" for i, label in enumerate(LABELS)))
    for name, part in (("a", slice(0, 4)), ("b", slice(4, 5)), ("c", slice(5, None))):
        with h5py.File(f"{name}.h5", "w") as file:
            file["data"], file["label"] = IMAGES[part].astype("f4"), LABELS[part].astype("f4")
    Path("h5").write_text("a.h5\nb.h5\nc.h5\n")
    write_windows(Path(), [(1, 0.9, 0, 0, 5, 5), (2, 0.8, 9, 0, 15, 5), (9, 0.1, 0, 9, 5, 15)])


def write(reader: str, settings: str = "") -> None:
    Path("net").write_text(NET % (reader.split()[0], READERS[reader]))
    Path("solver").write_text(SOLVER + settings)


def steps(solver: caffe.Solver, count: int) -> list[bytes]:
    """What the train net saw in each step, the test net if it was tested, and the weights then."""
    seen = []
    for _ in range(count):
        nets = [solver.net, *(solver.test_nets if solver.iter and solver.iter % 2 == 0 else [])]
        solver.step(1)
        arrays = [net.blobs[name].data for net in nets for name in ("data", "label", "loss")]
        arrays += [blob.data for blob in solver.net.params["fc"]]
        seen.append(b"".join(array.tobytes() for array in arrays))
    return seen


def restored(state: str, seed: int = 99) -> caffe.Solver:
    """A solver that has drawn and read otherwise before it is told to go on."""
    solver = caffe.get_solver("solver")
    caffe.set_random_seed(seed)
    for net in [solver.net, *solver.test_nets]:
        net.forward()
    solver.restore(state)
    return solver


@pytest.mark.parametrize("form", ["BINARYPROTO", "HDF5"])
@pytest.mark.parametrize("reader", READERS)
def test_it_goes_on_as_if_it_had_never_stopped(reader: str, form: str) -> None:
    write(reader, f"snapshot_format: {form}")
    whole = caffe.get_solver("solver")
    steps(whole, BEFORE)
    whole.snapshot()
    expected = steps(whole, AFTER)
    state = f"s_iter_{BEFORE}.solverstate" + (".h5" if form == "HDF5" else "")
    assert steps(restored(state), AFTER) == expected
    # Without what the snapshot tells of the run it is another one, as in Caffe.
    saved = read_state(state)
    saved.run = b""
    write_state(state, saved)
    assert steps(restored(state), AFTER) != expected


def test_it_stops_twice_and_the_depth_of_reading_ahead_is_no_matter() -> None:
    write("Data shuffled")
    whole = caffe.get_solver("solver")
    expected = steps(whole, 9)
    first = caffe.get_solver("solver")
    steps(first, 2)
    first.snapshot()
    Path("net").write_text(Path("net").read_text().replace("shuffle", "prefetch: 1 shuffle"))
    second = restored("s_iter_2.solverstate")
    steps(second, 4)
    second.snapshot()
    assert steps(restored("s_iter_6.solverstate"), 3) == expected[6:]


LSTM = """
layer { name: "data" type: "DummyData" top: "data" top: "cont" top: "label"
        dummy_data_param { shape { dim: 3 dim: 2 dim: 4 } shape { dim: 3 dim: 2 }
                           shape { dim: 3 dim: 2 dim: 5 }
                           data_filler { type: "gaussian" std: 1 }
                           data_filler { type: "constant" value: 1 }
                           data_filler { type: "gaussian" std: 1 } } }
layer { name: "fc" type: "%s" bottom: "data" bottom: "cont" top: "fc"
        recurrent_param { num_output: 5 weight_filler { type: "uniform" min: -0.3 max: 0.3 } } }
layer { name: "loss" type: "EuclideanLoss" bottom: "fc" bottom: "label" top: "loss" }
"""


@pytest.mark.parametrize("kind", ["LSTM", "RNN"])
def test_recurrent_states_go_on_too(kind: str) -> None:
    write("DummyData")
    Path("net").write_text(LSTM % kind)
    whole = caffe.get_solver("solver")
    steps(whole, 2)
    whole.snapshot()
    expected = steps(whole, 3)
    assert steps(restored("s_iter_2.solverstate"), 3) == expected


def test_a_snapshot_in_the_middle_of_a_test_has_the_test_begin_again() -> None:
    write("Data augmented", "max_iter: 9")
    expected = steps(caffe.get_solver("solver"), 8)
    asked = []

    def action() -> Action:
        asked.append(stopped.iteration)
        return Action.STOP if len(asked) == 8 else Action.NONE

    stopped = make_solver(read_solver("solver"))
    stopped.action = action
    stopped.solve()
    assert asked[-3:] == [4, 4, 4]  # after the step, and before two batches of the test
    assert steps(restored("s_iter_4.solverstate"), 4) == expected[4:]


def test_layers_of_one_name_and_layers_that_are_new() -> None:
    """Two readers called alike go on each for itself; one more starts as it is."""
    write("Data shuffled")
    shuffled = Path("net").read_text().splitlines()[1]
    more = shuffled.replace('top: "data" top: "label"', 'top: "more" top: "labels"')
    silence = 'layer { name: "s" type: "Silence" bottom: "more" bottom: "labels" }'
    twice = Path("net").read_text() + more.replace("batch_size: 4", "batch_size: 3") + silence
    Path("net").write_text(twice)
    whole = caffe.get_solver("solver")
    steps(whole, BEFORE)
    whole.snapshot()
    expected = steps(whole, AFTER), whole.net.blobs["more"].data.tobytes()
    solver = restored(f"s_iter_{BEFORE}.solverstate")
    assert (steps(solver, AFTER), solver.net.blobs["more"].data.tobytes()) == expected
    third = more.replace('name: "data"', 'name: "third"').replace('"more"', '"m3"')
    Path("net").write_text(twice + third.replace('"labels"', '"l3"') + silence.replace(
        '"s"', '"s3"').replace('"more"', '"m3"').replace('"labels"', '"l3"'))  # fmt: skip
    restored(f"s_iter_{BEFORE}.solverstate").step(1)


# -- what cannot be gone on from ------------------------------------------------------------------


def spoil(state: str, change) -> None:
    saved = read_state(state)
    told = json.loads(saved.run)
    change(told)
    saved.run = json.dumps(told).encode()
    write_state(state, saved)


def reader_of(told) -> dict:
    return told["nets"][0][0][1]


BROKEN = {
    "a generator's name": lambda told: told["generators"].update(moon=""),
    "a generator's length": lambda told: told["generators"].update(cpu="abcde"),
    "not in base 85": lambda told: told["generators"].update(cpu='"'),
    "no generators": lambda told: told.pop("generators"),
    "nets": lambda told: told.update(nets=7),
    "a net": lambda told: told.update(nets=[7]),
    "a layer": lambda told: told.update(nets=[[["data", 7]]]),
    "a negative place": lambda told: reader_of(told).update(position=-1),
    "half a place": lambda told: reader_of(told).update(position=0.5),
    "no place": lambda told: reader_of(told).pop("position"),
    "no seed": lambda told: reader_of(told).pop("seed"),
    "a text for a seed": lambda told: reader_of(told).update(seed="1"),
    "no random numbers": lambda told: reader_of(told).pop("random"),
    "other random numbers": lambda told: reader_of(told)["random"].update(bit_generator="MT19937"),
    "too large a number": lambda told: reader_of(told)["random"]["state"].update(state=1 << 200),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_state_is_told(what: str) -> None:
    write("Data shuffled")
    caffe.get_solver("solver").snapshot()
    spoil("s_iter_0.solverstate", BROKEN[what])
    with pytest.raises(FormatError, match=r"s_iter_0\.solverstate: "):
        restored("s_iter_0.solverstate")


@pytest.mark.parametrize("content", [b"no JSON", b"[" * 100000, b"\xff", b"[]", b"1" * 9999])
def test_what_is_no_state_is_told(content: bytes) -> None:
    write("Data")
    caffe.get_solver("solver").snapshot()
    saved = read_state("s_iter_0.solverstate")
    saved.run = content
    write_state("s_iter_0.solverstate", saved)
    with pytest.raises(FormatError, match="is broken"):
        restored("s_iter_0.solverstate")


@pytest.mark.parametrize("change", [{"file": 3}, {"row": 99}, {"turn": -1}, {"seed": None}])
def test_a_place_that_the_files_do_not_have_is_told(change: dict) -> None:
    write("HDF5Data")
    caffe.get_solver("solver").snapshot()
    spoil("s_iter_0.solverstate", lambda told: reader_of(told).update(change))
    with pytest.raises(FormatError, match="layer 'data': "):
        restored("s_iter_0.solverstate")


@pytest.mark.parametrize(
    "kept", [7, [[1]], [[[1, 2]]], [[[0.0] * 5]], [[[0.0] * 5], [["x"] * 5]], [[[10**400] * 5]] * 2]
)
def test_recurrent_states_that_do_not_fit_are_told(kept) -> None:
    write("DummyData")
    Path("net").write_text(LSTM % "LSTM")
    caffe.get_solver("solver").snapshot()
    spoil("s_iter_0.solverstate", lambda told: reader_of(told).update(kept=kept))
    with pytest.raises(FormatError, match="layer 'fc': "):
        restored("s_iter_0.solverstate")


def test_an_order_in_place_of_none_is_told() -> None:
    write("Data")
    caffe.get_solver("solver").snapshot()
    write("Data shuffled")
    with pytest.raises(CaffeError, match="shuffled and this one does not, or vice versa"):
        restored("s_iter_0.solverstate")


# -- with BVLC's build ----------------------------------------------------------------------------


@pytest.mark.oracle
@pytest.mark.parametrize("form", ["BINARYPROTO", "HDF5"])
def test_bvlcs_build_goes_on_from_such_a_snapshot(bvlc: Build, form: str) -> None:
    """With the weights and the history, and with its data from the first on."""
    write("Data", f"snapshot_format: {form}")
    # Nothing random and nothing that saturates, so that the losses can be compared.
    Path("solver").write_text(Path("solver").read_text().replace("0.1", "1e-6"))
    text = Path("net").read_text().replace("mirror: true", "").replace("crop_size: 6", "")
    text = "\n".join(line for line in text.splitlines() if '"drop"' not in line)
    Path("net").write_text(text)
    solver = caffe.get_solver("solver")
    solver.step(COUNT * 2)  # whole turns
    solver.snapshot()
    state = f"s_iter_{COUNT * 2}.solverstate" + (".h5" if form == "HDF5" else "")
    script = f"""
import json, caffe
solver = caffe.get_solver("solver")
solver.restore("{state}")
losses = []
for _ in range(5):
    solver.step(1)
    losses.append(float(solver.net.blobs["loss"].data))
print(json.dumps([solver.iter, losses]))
"""
    files = {name: Path(name) for name in ("net", "solver", "lmdb", state)}
    weights = state.replace("solverstate", "caffemodel")
    with bvlc.workplace({**files, weights: Path(weights)}) as place:
        found = place.python(script).json()
    expected = []
    for _ in range(5):
        solver.step(1)
        expected.append(float(solver.net.blobs["loss"].data))
    assert found[0] == COUNT * 2 + 5
    assert found[1] == pytest.approx(expected, rel=1e-5)


def test_the_shared_seed_follows_the_solvers_seed_not_its_rank() -> None:
    context.seed(5, rank=2)
    assert context.is_seeded
    assert context.shared_seed == 5
