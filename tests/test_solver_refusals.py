"""What BVLC's build refuses of a solver's settings is refused, and the rest is taken."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from bvlc import Build

import caffe
from caffe.proto import caffe_pb2
from recaffe.errors import CaffeError, SolverError
from recaffe.net import Net
from recaffe.solver import make_solver
from recaffe.solver.snapshots import with_snapshot_prefix

NET = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 2 } } }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "y" loss_weight: 1
  inner_product_param { num_output: 1 weight_filler { type: "constant" value: 0.5 } } }
"""
OF_NET = 'net: "net.prototxt" '
FIXED = 'lr_policy: "fixed" '
OWN_TEST = 'test_net: "net.prototxt" '
TESTED = "test_iter: 1 test_interval: 1 "
INLINE = f"net_param {{ {NET} }} "
SETTINGS = [
    # policies
    OF_NET + FIXED,
    OF_NET,
    OF_NET + 'lr_policy: "stp"',
    OF_NET + 'lr_policy: "step" gamma: 0.5',
    OF_NET + 'lr_policy: "step" stepsize: 2',
    OF_NET + 'lr_policy: "step" stepsize: -2 gamma: 0.5',
    OF_NET + 'lr_policy: "exp"',
    *(OF_NET + f'lr_policy: "{name}" gamma: -0.5 stepsize: 2 power: 1 stepvalue: 1'
      for name in ("step", "exp", "inv", "multistep", "sigmoid")),
    OF_NET + 'lr_policy: "inv"',
    OF_NET + 'lr_policy: "multistep"',
    OF_NET + 'lr_policy: "poly" max_iter: 4',
    OF_NET + 'lr_policy: "poly" power: 1',
    OF_NET + 'lr_policy: "sigmoid" gamma: 0.5',
    OF_NET + 'lr_policy: "sigmoid" stepsize: 2',
    # numbers
    OF_NET + FIXED + "base_lr: -1",
    OF_NET + FIXED + "average_loss: 0",
    OF_NET + FIXED + "average_loss: -1",
    OF_NET + FIXED + "iter_size: 0",
    OF_NET + FIXED + "iter_size: -1",
    OF_NET + FIXED + "momentum: 1.5",
    OF_NET + FIXED + "momentum: -1",
    OF_NET + FIXED + "weight_decay: -0.5",
    OF_NET + FIXED + 'regularization_type: "L3"',
    OF_NET + FIXED + 'regularization_type: "L3" weight_decay: 0.1',
    OF_NET + FIXED + "clip_gradients: 0",
    OF_NET + FIXED + "clip_gradients: -2",
    OF_NET + FIXED + "max_iter: -1",
    OF_NET + FIXED + "display: -2 snapshot: -2",
    # types
    OF_NET + FIXED + 'type: "Foo"',
    OF_NET + FIXED + "solver_type: ADAGRAD",
    OF_NET + FIXED + 'type: "Adam" solver_type: ADAM',
    *(OF_NET + FIXED + f'type: "{name}" {more}' for name, more in [
        ("AdaGrad", "momentum: 0.9"), ("AdaGrad", "momentum: 0"), ("AdaGrad", "delta: -1"),
        ("RMSProp", "momentum: 0.9"), ("RMSProp", "rms_decay: 1"), ("RMSProp", "rms_decay: 0"),
        ("RMSProp", "rms_decay: -0.1"), ("RMSProp", ""), ("Nesterov", "momentum: 1.5"),
        ("AdaDelta", ""), ("AdaDelta", "momentum: 1"), ("AdaDelta", "momentum: -0.5"),
        ("Adam", ""), ("Adam", "momentum: 1"), ("Adam", "momentum: -0.5"), ("Adam", "momentum: 2"),
        ("Adam", "momentum2: 1"), ("Adam", "momentum2: -0.5"), ("Adam", "momentum2: 2"),
    ]),
    # nets
    FIXED,
    INLINE + FIXED,
    INLINE + FIXED + TESTED,
    INLINE + FIXED + OF_NET,
    OF_NET + FIXED + 'train_net: "net.prototxt"',
    'net: "absent.prototxt"' + FIXED,
    f"train_net_param {{ {NET} }}" + FIXED,
    f"train_net_param {{ {NET} }} test_net_param {{ {NET} }}" + FIXED + TESTED,
    'train_net: "net.prototxt"' + FIXED + OWN_TEST,
    'train_net: "net.prototxt"' + FIXED + OWN_TEST + TESTED,
    'train_net: "net.prototxt"' + FIXED + OWN_TEST + TESTED + "test_iter: 2",
    OF_NET + FIXED + OWN_TEST + OWN_TEST + TESTED,
    OF_NET + FIXED + OWN_TEST + TESTED + "test_iter: 2",
    OF_NET + FIXED + "test_iter: 1",
    OF_NET + FIXED + "test_interval: 1",
    OF_NET + FIXED + "test_iter: 1 test_interval: -1",
    OF_NET + FIXED + "test_iter: 0 test_interval: 1",
    OF_NET + FIXED + "test_iter: -1 test_interval: 1",
    OF_NET + FIXED + TESTED + "test_state {}",
    OF_NET + FIXED + TESTED + "test_state {} test_state {}",
    OF_NET + FIXED + "test_state {}",
    # weights and snapshots
    OF_NET + FIXED + 'weights: "absent.caffemodel"',
    OF_NET + FIXED + 'weights: ""',
    OF_NET + FIXED + 'weights: "start.caffemodel"',
    OF_NET + FIXED + 'weights: "start.caffemodel.h5 , start.caffemodel"',
    OF_NET + FIXED + 'weights: "start.caffemodel" weights: "start.caffemodel.h5"',
    OF_NET + FIXED + 'weights: "start.caffemodel, absent.caffemodel"',
    OF_NET + FIXED + 'snapshot: 1 snapshot_prefix: "absent/folder/s"',
    OF_NET + FIXED + 'snapshot: 1 snapshot_prefix: "net.prototxt/s"',
    OF_NET + FIXED + 'snapshot_prefix: "net.prototxt/s"',
]  # fmt: skip

# Where ours differs on purpose: settings, whether BVLC's build refuses them, and why we do not
# do as it does.
ON_PURPOSE = {
    OF_NET + 'lr_policy: "poly" power: 1': (False, "BVLC divides by max_iter, which is 0: NaN"),
    OF_NET + FIXED + "iter_size: 0": (False, "BVLC divides by it: NaN"),
    OF_NET + FIXED + "iter_size: -1": (False, "BVLC trains on no gradient at all"),
    OF_NET + FIXED + 'type: "Adam" momentum: 1': (False, "BVLC divides by 0: NaN"),
    OF_NET + FIXED + 'type: "Adam" momentum: 2': (False, "the correction grows beyond all bounds"),
    OF_NET + FIXED + 'type: "Adam" momentum2: 2': (False, "BVLC takes a negative's root: NaN"),
    OF_NET + FIXED + 'snapshot: 1 snapshot_prefix: "absent/folder/s"': (
        True, "we make the folder"),
}  # fmt: skip

SCRIPT = """
import json, os, sys
import caffe
settings = json.load(open("settings.json"))
statuses = []
for index, text in enumerate(settings):
    name = "solver%d.prototxt" % index
    with open(name, "w") as stream:
        stream.write("random_seed: 1 " + text)
    child = os.fork()
    if child == 0:
        os.dup2(os.open("/dev/null", os.O_WRONLY), 2)
        solver = caffe.get_solver(name)
        solver.net.blobs["x"].data[...] = [[1, 2], [3, -6]]
        solver.step(2)
        os._exit(0)
    statuses.append(os.waitpid(child, 0)[1])
json.dump(statuses, sys.stdout)
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "net.prototxt").write_text(NET)
    monkeypatch.chdir(tmp_path)
    net = caffe.Net("net.prototxt", caffe.TRAIN)
    for name in ("start.caffemodel", "start.caffemodel.h5"):
        net.save(tmp_path / name)
    return tmp_path


def refused(text: str) -> str:
    """In what words we refuse a solver with these settings, or to step with it."""
    Path("solver.prototxt").write_text(text)
    try:
        solver = caffe.get_solver("solver.prototxt")
        solver.net.blobs["x"].data[...] = [[1, 2], [3, -6]]
        solver.step(2)
    except CaffeError as error:
        return str(error)
    return ""


@pytest.mark.oracle
def test_we_refuse_what_bvlc_refuses(bvlc: Build, here: Path) -> None:
    files = {path.name: path for path in here.iterdir()}
    files["settings.json"] = json.dumps(SETTINGS)
    statuses = bvlc.python(SCRIPT, files=files).json()
    theirs = {text: status != 0 for text, status in zip(SETTINGS, statuses, strict=True)}
    assert len(theirs) == len(SETTINGS)
    assert 25 < sum(theirs.values()) < len(SETTINGS) - 25
    expected = dict(theirs)
    for text, (is_refused, _) in ON_PURPOSE.items():
        assert theirs[text] == is_refused
        expected[text] = not is_refused
    assert {text: bool(refused(text)) for text in SETTINGS} == expected


# -- details ------------------------------------------------------------------------------


def solver_param(**fields):
    return caffe_pb2.SolverParameter(**fields)


PREFIXES = [
    # prefix, solver file, what snapshots are called
    (None, "q.prototxt", "q"),
    (None, "sub/q.v1.prototxt", "sub/q.v1"),
    ("sub", "q.prototxt", "sub/q"),
    ("sub/", "q.v1.prototxt", "sub/q.v1"),
    ("sub/s", "q.prototxt", "sub/s"),
    ("", "q.prototxt", ""),
]
PREFIX_SCRIPT = """
import glob, json, os, sys
import caffe
found = []
for prefix, name in json.load(open("prefixes.json")):
    os.makedirs("sub", exist_ok=True)
    given = "" if prefix is None else 'snapshot_prefix: "%s"' % prefix
    with open(name, "w") as stream:
        stream.write('net: "net.prototxt" lr_policy: "fixed" ' + given)
    caffe.get_solver(name).snapshot()
    made = glob.glob("**/*_iter_0.solverstate", recursive=True)
    found.append([path[: -len("_iter_0.solverstate")] for path in made])
    for path in made:
        os.remove(path)
json.dump(found, sys.stdout)
"""


@pytest.mark.parametrize(("prefix", "file", "expected"), PREFIXES)
def test_snapshots_are_called_after_the_solver_file(here, prefix, file, expected):
    (here / "sub").mkdir()
    param = solver_param() if prefix is None else solver_param(snapshot_prefix=prefix)
    assert with_snapshot_prefix(param, file).snapshot_prefix == expected
    assert param.HasField("snapshot_prefix") == (prefix is not None)


@pytest.mark.oracle
def test_snapshots_are_called_as_bvlcs(bvlc: Build) -> None:
    files = {
        "net.prototxt": NET,
        "prefixes.json": json.dumps([[prefix, file] for prefix, file, _ in PREFIXES]),
    }
    found = bvlc.python(PREFIX_SCRIPT, files=files).json()
    assert found == [[expected] for _, _, expected in PREFIXES]


def test_a_place_that_cannot_be_written_to_is_told_before_training(here):
    param = solver_param(net="net.prototxt", lr_policy="fixed", snapshot=1)
    param.snapshot_prefix = "net.prototxt/s"
    with pytest.raises(SolverError, match=r"cannot write to snapshot_prefix 'net.prototxt/s'"):
        make_solver(param)


def test_names_that_hdf5_cannot_hold_are_told_before_training(here):
    """BVLC's build aborts at the first snapshot."""
    (here / "net.prototxt").write_text(NET.replace('name: "ip"', 'name: "a/b"'))
    fields = {"net": "net.prototxt", "lr_policy": "fixed", "snapshot_prefix": "s"}
    make_solver(solver_param(**fields, snapshot=1))
    make_solver(solver_param(**fields, snapshot_format=caffe_pb2.SolverParameter.HDF5))
    with pytest.raises(CaffeError, match="layer name 'a/b' cannot be a name in HDF5; rename"):
        make_solver(
            solver_param(**fields, snapshot=1, snapshot_format=caffe_pb2.SolverParameter.HDF5)
        )


def test_weights_go_into_test_nets_as_well(here):
    net = caffe.Net("net.prototxt", caffe.TRAIN)
    net.params["ip"][0].data[...] = 7
    net.save("seven.caffemodel")
    solver = make_solver(
        solver_param(net="net.prototxt", lr_policy="fixed", test_iter=[1], test_interval=1,
                     weights=["start.caffemodel , seven.caffemodel"]),
        Net,
    )  # fmt: skip
    for made in (solver.net, *solver.test_nets):
        assert (made.params["ip"][0].data == 7).all()
