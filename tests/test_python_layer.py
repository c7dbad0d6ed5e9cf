"""Python layers: what users may write in them, trained as BVLC trains, and their mistakes."""

from __future__ import annotations

import io
import sys
import traceback
from pathlib import Path

import numpy as np
import pytest
from bvlc import Build
from google.protobuf import text_format

import caffe
from caffe.proto import caffe_pb2
from recaffe.errors import LayerError, NoSuchMethodError
from recaffe.net import Net
from recaffe.user import UserLayer

MODULE = '''
import caffe
import numpy as np


class Shift(caffe.Layer):
    """Adds a learnable vector, and squares."""

    def setup(self, bottom, top):
        self.settings = eval(self.param_str)
        self.blobs.add_blob(1, bottom[0].channels)
        self.blobs[0].data[...] = self.settings["start"]
        self.reshapes = 0

    def reshape(self, bottom, top):
        self.reshapes += 1
        top[0].reshape(*bottom[0].shape)

    def forward(self, bottom, top):
        top[0].data[...] = (bottom[0].data + self.blobs[0].data) ** 2

    def backward(self, top, propagate_down, bottom):
        inner = 2 * (bottom[0].data + self.blobs[0].data) * top[0].diff
        if propagate_down[0]:
            bottom[0].diff[...] = inner
        self.blobs[0].diff[...] += inner.sum(axis=0)


class Distance(caffe.Layer):
    """Half the squared distance of two bottoms, divided by their number."""

    def setup(self, bottom, top):
        if len(bottom) != 2:
            raise ValueError("two bottoms, please")

    def reshape(self, bottom, top):
        if bottom[0].count != bottom[1].count:
            raise ValueError("one target for each value")
        self.difference = np.zeros(bottom[0].shape, np.float32)
        top[0].reshape(1)

    def forward(self, bottom, top):
        self.difference[...] = bottom[0].data - bottom[1].data.reshape(bottom[0].data.shape)
        top[0].data[...] = np.sum(self.difference ** 2) / bottom[0].num / 2

    def backward(self, top, propagate_down, bottom):
        for index, sign in enumerate((1, -1)):
            if propagate_down[index]:
                bottom[index].diff[...] = (
                    sign * self.difference * top[0].diff[0] / bottom[index].num
                ).reshape(bottom[index].data.shape)


class Batches(caffe.Layer):
    """Data and targets that a program may set."""

    def setup(self, bottom, top):
        self.round, self.targets = 0, np.arange(3) - 1.0

    def set_targets(self, targets):
        self.targets = targets

    def reshape(self, bottom, top):
        top[0].reshape(3, 4)
        top[1].reshape(3, 2)

    def forward(self, bottom, top):
        self.round += 1
        top[0].data[...] = np.sin(np.arange(12) + self.round).reshape(3, 4)
        top[1].data[...] = np.stack([self.targets, self.targets * 2], axis=1)

    def backward(self, top, propagate_down, bottom):
        pass


class Faulty(caffe.Layer):
    def setup(self, bottom, top):
        pass

    def reshape(self, bottom, top):
        top[0].reshape(1)

    def forward(self, bottom, top):
        return self.deeper({})

    def deeper(self, table):
        return table["missing"]


class Bare(caffe.Layer):
    def reshape(self, bottom, top):
        top[0].reshape(2)


class NotALayer:
    pass
'''
NET = """
layer { name: "data" type: "Python" top: "data" top: "target"
  python_param { module: "my_layers" layer: "Batches" } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
  inner_product_param { num_output: 2 weight_filler { type: "constant" value: 0.25 } } }
layer { name: "shift" type: "Python" bottom: "ip" top: "shift" param { lr_mult: 2 decay_mult: 0 }
  python_param { module: "my_layers" layer: "Shift" param_str: "{'start': 0.5}" } }
layer { name: "ip2" type: "InnerProduct" bottom: "shift" top: "ip2"
  inner_product_param { num_output: 2 weight_filler { type: "constant" value: -0.5 } } }
layer { name: "loss" type: "Python" bottom: "ip2" bottom: "target" top: "loss" loss_weight: 1.5
  python_param { module: "my_layers" layer: "Distance" } }
"""
SOLVER = (
    'net: "net.prototxt" base_lr: 0.05 lr_policy: "fixed" momentum: 0.9 weight_decay: 0.1 '
    'snapshot_prefix: "snap"'
)
TRAIN = """
import caffe, numpy as np
solver = caffe.get_solver("solver.prototxt")
found = {}
for iteration in range(4):
    solver.step(1)
    for name, blobs in solver.net.params.items():
        for index, blob in enumerate(blobs):
            found["%d %s %d" % (iteration, name, index)] = blob.data.copy()
    found["%d loss" % iteration] = solver.net.blobs["loss"].data.copy()
    found["%d ip" % iteration] = solver.net.blobs["ip"].diff.copy()
solver.snapshot()
np.savez("found.npz", **found)
"""


@pytest.fixture(autouse=True)
def _module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("my_layers.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("my_layers", None)


def net(text: str, phase: int = 0) -> Net:
    return Net(text_format.Parse(text, caffe_pb2.NetParameter()), phase)


def one(layer: str, bottoms: str = "", more: str = "", module: str = "my_layers") -> str:
    return (
        f'layer {{ name: "it" type: "Python" {bottoms} top: "top" '
        f'python_param {{ module: "{module}" layer: "{layer}" {more} }} }}'
    )


def blob(name: str, *shape: int) -> str:
    dims = " ".join(f"dim: {size}" for size in shape)
    return (
        f'layer {{ name: "{name}" type: "Input" top: "{name}" '
        f"input_param {{ shape {{ {dims} }} }} }}\n"
    )


def run(made: Net) -> None:
    made.forward_layers(0, len(made.layers) - 1)


# -- against BVLC -------------------------------------------------------------------------


@pytest.mark.oracle
def test_a_net_of_python_layers_learns_as_in_bvlcs(bvlc: Build) -> None:
    files = {"net.prototxt": NET, "solver.prototxt": SOLVER, "my_layers.py": MODULE}
    result = bvlc.python(TRAIN, files=files, fetch=["found.npz", "snap_iter_4.caffemodel"])
    theirs = np.load(io.BytesIO(result.files["found.npz"]))
    Path("net.prototxt").write_text(NET)
    Path("solver.prototxt").write_text(SOLVER)
    exec(TRAIN, {})
    ours = np.load("found.npz")
    assert set(ours) == set(theirs)
    assert ours["3 shift 0"].shape == (1, 2)
    assert np.abs(ours["3 shift 0"] - 0.5).max() > 0.01
    for key, expected in theirs.items():
        np.testing.assert_allclose(ours[key], expected, rtol=1e-5, atol=1e-6, err_msg=key)
    Path("theirs.caffemodel").write_bytes(result.files["snap_iter_4.caffemodel"])
    loaded = caffe.Net("net.prototxt", "theirs.caffemodel", caffe.TEST)
    np.testing.assert_array_equal(loaded.params["shift"][0].data, theirs["3 shift 0"])


# -- what users rely on -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("allowed", "message"),
    [
        ("", r"'colorsys' is none of those that nets may run \(none\).*model\.python_layers"),
        ("other,colorsys2", r"'colorsys' is none of those that nets may run \(other,colorsys2\)"),
        ("other,colorsys", "expected a class 'Layer' derived from caffe.Layer"),
    ],
)
def test_only_modules_that_are_allowed_are_imported(monkeypatch, allowed: str, message: str):
    monkeypatch.setenv("RECAFFE_PYTHON_LAYERS", allowed)
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    text = """
    layer { name: "p" type: "Python" top: "a" python_param { module: "colorsys" layer: "Layer" } }
    """
    with pytest.raises(LayerError, match=message):
        Net(text_format.Parse(text, caffe_pb2.NetParameter()), caffe.TEST)
    assert ("colorsys" in sys.modules) == (allowed == "other,colorsys")


def test_the_face_gives_the_class() -> None:
    assert caffe.Layer is UserLayer


def test_a_program_reaches_its_own_object_through_the_layer() -> None:
    made = net(NET)
    user = made.layers[0].user
    user.set_targets(np.array([7.0, 8.0, 9.0]))
    run(made)
    np.testing.assert_array_equal(made.blobs["target"].data[:, 1], [14, 16, 18])
    assert user.round == 1
    user.round = 10
    run(made)
    assert user.round == 11


def test_reshape_comes_before_each_forward() -> None:
    made = net(blob("b", 3, 4) + one("Shift", 'bottom: "b"', "param_str: \"{'start': 1}\""))
    layer = made.layers[1].user
    assert layer.reshapes == 1
    for count in (2, 3):
        run(made)
        assert layer.reshapes == count
    made.blobs["b"].reshape(5, 4)
    made.reshape()
    assert made.blobs["top"].shape == (5, 4)


def test_parameters_are_shared_by_name() -> None:
    more = "param_str: \"{'start': 2}\""
    text = one("Shift", 'bottom: "b"', more)
    text += text.replace('"it"', '"other"').replace('"top"', '"top2"')
    shared = text.replace("python_param", 'param { name: "v" } python_param')
    made = net(blob("b", 3, 4) + shared)
    it, other = (made.layers[index] for index in (-2, -1))
    assert np.shares_memory(it.user.blobs[0].data, other.user.blobs[0].data)
    assert len(made.learnable) == 1


def test_a_source_in_python_goes_with_a_whole_step() -> None:
    text = NET[: NET.index('layer { name: "shift"')] + (
        'layer { name: "loss" type: "EuclideanLoss" bottom: "ip" bottom: "target" top: "loss" }'
    )
    whole, layers = net(text), net(text)
    for _ in range(2):
        assert whole.forward_backward(keep=False) == layers.forward_backward()
        for ours, theirs in zip(whole.learnable, layers.learnable, strict=True):
            np.testing.assert_array_equal(ours.diff, theirs.diff)
            assert ours.diff.any()
    assert whole.layers[0].user.round == 2


# -- mistakes -----------------------------------------------------------------------------


def test_an_exception_keeps_its_kind_and_traceback_and_names_the_layer() -> None:
    made = net(one("Faulty"))
    with pytest.raises(KeyError, match="missing") as told:
        run(made)
    assert told.value.__notes__ == ["in layer 'it' (Python): my_layers.Faulty"]
    assert 'return table["missing"]' in "".join(traceback.format_exception(told.value))


def test_exceptions_of_setup_and_reshape_keep_their_kind_too() -> None:
    with pytest.raises(ValueError, match="two bottoms, please") as told:
        net(blob("a", 2) + one("Distance", 'bottom: "a"'))
    assert "'it' (Python)" in told.value.__notes__[0]
    with pytest.raises(ValueError, match="one target for each") as told:
        net(blob("a", 2) + blob("b", 3) + one("Distance", 'bottom: "a" bottom: "b"'))
    assert "'it' (Python)" in told.value.__notes__[0]
    with pytest.raises(SyntaxError) as told:
        net(blob("a", 2, 2) + one("Shift", 'bottom: "a"', "param_str: '1 +'"))
    assert "'it' (Python)" in told.value.__notes__[0]


def test_a_method_that_lacks_is_asked_for() -> None:
    made = net(one("Bare"))
    assert made.blobs["top"].shape == (2,)
    needs = r"'it' \(Python\): Bare needs a method forward\(self, bottom, top\)"
    with pytest.raises(NoSuchMethodError, match=needs):
        run(made)


def test_modules_that_cannot_be_imported() -> None:
    with pytest.raises(LayerError, match=r"'it' \(Python\): no module 'elsewhere': .*PYTHONPATH"):
        net(one("It", module="elsewhere"))
    with pytest.raises(LayerError, match=r"no module 'elsewhere.inner'"):
        net(one("It", module="elsewhere.inner"))
    Path("broken_layers.py").write_text("import caffe\nimport no_such_thing\n")
    with pytest.raises(ModuleNotFoundError, match="no_such_thing") as told:
        net(one("It", module="broken_layers"))
    assert "'it' (Python)" in told.value.__notes__[0]
    Path("wrong_layers.py").write_text("1 / 0")
    with pytest.raises(ZeroDivisionError) as divided:
        net(one("It", module="wrong_layers"))
    assert "'it' (Python)" in divided.value.__notes__[0]


@pytest.mark.parametrize("name", ["NotALayer", "Missing", "MODULE", "np"])
def test_what_is_no_layers_class(name: str) -> None:
    with pytest.raises(LayerError, match=rf"a class '{name}' derived from caffe.Layer in .*my_lay"):
        net(one(name))
