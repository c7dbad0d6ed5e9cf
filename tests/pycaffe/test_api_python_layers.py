"""Python layers as their users' own objects, and their exceptions."""

import subprocess
import sys
import traceback
from pathlib import Path

import numpy as np
from api_nets import raised, write

import caffe

ONLY_OURS = {
    "test_a_method_that_lacks_is_named": "BVLC's build names the class alone",
}

LAYERS = """
import caffe


class Own(caffe.Layer):
    kind = "own"

    def setup(self, bottom, top):
        self.top_names, self.name, self.param, self.user = ["u"], "mine", {"a": 1}, 7
        self.bottoms = self.tops = self.error = self.in_place = self.is_loss = self.shape = 5
        self.seen = []

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].data.shape)

    def forward(self, bottom, top):
        top[0].data[...] = 2 * bottom[0].data

    def backward(self, top, propagate_down, bottom):
        self.seen.append(list(propagate_down))
        bottom[0].diff[...] = 2 * top[0].diff

    def attach(self, value):
        return ("attach", value)

    def top_shapes(self):
        return "shapes"

    def __len__(self):
        return 5

    def __getitem__(self, index):
        return [1, 2][index]

    def __call__(self, value):
        return value + 1

    def __str__(self):
        return "own!"

    @property
    def doubled(self):
        return 2 * self.user

    @doubled.setter
    def doubled(self, value):
        self.user = value // 2


class Shadows(Own):
    blobs = 5
    type = "mine"


class Starts(Own):
    def __init__(self, param):
        super().__init__(param)
        self.blobs.add_blob(2, 3)
        self.early = (len(self.blobs), hasattr(self, "param_str"), self.type)

    def setup(self, bottom, top):
        self.late = (len(self.blobs), self.param_str, self.phase)
        for name in ("blobs", "type"):
            try:
                setattr(self, name, 3)
            except AttributeError:
                self.late += (name,)


class Fails(Own):
    def setup(self, bottom, top):
        if self.param_str == "setup":
            self.deeper({})

    def reshape(self, bottom, top):
        if self.param_str == "reshape":
            self.deeper({})
        top[0].reshape(1)

    def forward(self, bottom, top):
        if self.param_str == "forward":
            self.deeper({})

    def backward(self, top, propagate_down, bottom):
        self.deeper({})

    def deeper(self, table):
        return table["missing"]


class Bare(caffe.Layer):
    def setup(self, bottom, top):
        pass

    def reshape(self, bottom, top):
        top[0].reshape(1)


class NoBackward(Bare):
    def forward(self, bottom, top):
        pass


class Appends(NoBackward):
    def setup(self, bottom, top):
        self.blobs.append(bottom[0])
        self.blobs.extend([bottom[0], top[0]])


class NamesAxes(Bare):
    def setup(self, bottom, top):
        self.blobs.add_blob(3, name="w")
"""
NET = """force_backward: true
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 } } }
layer { name: "py" type: "Python" bottom: "data" top: "py"
  python_param { module: "own_layers" layer: "%s" param_str: "%s" } }
"""
STEPS = ["setup", "reshape", "forward", "backward"]


def python(layer="Own", text=""):
    write("own_layers.py", LAYERS)
    if "" not in sys.path:
        sys.path.insert(0, "")
    sys.modules.pop("own_layers", None)
    return caffe.Net(write("net.prototxt", NET % (layer, text)), caffe.TEST)


def test_the_layer_is_the_users_object():
    net = python()
    layer = net.layers[1]
    cls = sys.modules["own_layers"].Own
    assert type(layer) is layer.__class__ is cls
    assert layer is net.layers[1] is net.layer_dict["py"]
    assert vars(layer)["seen"] == []
    assert (len(layer), layer[1], list(layer), layer(1), str(layer)) == (5, 2, [1, 2], 2, "own!")
    layer.doubled = 8
    assert (layer.user, layer.doubled, layer.kind) == (4, 8, "own")
    del layer.seen
    assert not hasattr(layer, "seen")
    assert (layer.type, len(layer.blobs), layer.param_str, layer.phase) == ("Python", 0, "", 1)


def test_all_names_are_the_users():
    net = python()
    layer = net.layers[1]
    assert (layer.top_names, layer.name, layer.param, layer.user) == (["u"], "mine", {"a": 1}, 7)
    assert (layer.attach(3), layer.top_shapes()) == (("attach", 3), "shapes")
    for name in ("param", "name", "phase", "param_str", "top_blobs", "forward_blobs"):
        setattr(layer, name, 3)
        assert getattr(net.layers[1], name) == 3
    assert (net.forward(data=np.ones((2, 3)))["py"] == 2).all()
    net.blobs["py"].diff[...] = 1
    assert (net.backward()["data"] == 2).all()
    assert layer.seen == [[True]]
    net.save("w.caffemodel")
    assert list(net._layer_names) == ["data", "py"]
    assert net.top_names["py"] == ["py"]


def test_a_class_may_have_pycaffes_names():
    net = python("Shadows")
    assert (net.layers[1].blobs, net.layers[1].type) == (5, "mine")
    assert (net.forward(data=np.ones((2, 3)))["py"] == 2).all()


def test_an_init_of_ones_own():
    net = python("Starts", "text")
    assert net.layers[1].early == (1, False, "Python")
    assert net.layers[1].late == (1, "text", caffe.TEST, "blobs", "type")
    assert net.params["py"][0].data.shape == (2, 3)


def test_methods_patched_on_the_object_and_the_class():
    net = python()

    def fill(value):
        return lambda *given: given[-1][0].data.fill(value)

    net.layers[1].forward = fill(42)
    assert (net.forward()["py"] == 42).all()
    del net.layers[1].forward
    sys.modules["own_layers"].Own.forward = fill(43)
    assert (net.forward()["py"] == 43).all()


def run_until(step):
    net = python("Fails", step)
    net.forward()
    net.backward()


def test_exceptions_keep_their_kind_and_traceback():
    for step in STEPS:
        error = raised(run_until, step)
        assert type(error) is KeyError
        assert error.args == ("missing",)
        frames = traceback.extract_tb(error.__traceback__)[-2:]
        assert [frame.name for frame in frames] == [step, "deeper"]
        assert {Path(frame.filename).name for frame in frames} == {"own_layers.py"}
        assert frames[1].line == 'return table["missing"]'


def test_a_traceback_is_printed_with_the_users_line():
    python()
    script = "import sys, caffe; sys.path.insert(0, ''); caffe.Net('fails.prototxt', 1).forward()"
    write("fails.prototxt", NET % ("Fails", "forward"))
    told = subprocess.run([sys.executable, "-c", script], stderr=subprocess.PIPE).stderr.decode()
    line = 1 + LAYERS.splitlines().index('        return table["missing"]')
    assert 'own_layers.py", line %d, in deeper' % line in told
    assert 'return table["missing"]' in told
    assert "KeyError: 'missing'" in told


def test_a_method_that_lacks_is_missed_when_it_is_called():
    net = python("Bare")
    error = raised(net.forward)
    assert isinstance(error, AttributeError)
    assert "forward" in str(error)
    net = python("NoBackward")
    net.forward()
    assert isinstance(raised(net.backward), AttributeError)
    assert not hasattr(net.layers[1], "backward")


def test_a_method_that_lacks_is_named():
    error = raised(python("Bare").forward)
    assert "layer 'py' (Python): Bare needs a method forward(self, bottom, top)" in str(error)


def test_blobs_that_are_there_can_be_parameters():
    net = python("Appends")
    assert [tuple(blob.shape) for blob in net.params["py"]] == [(2, 3), (2, 3), (1,)]
    assert np.shares_memory(net.params["py"][1].data, net.blobs["data"].data)


def test_axes_have_no_names():
    assert isinstance(raised(python, "NamesAxes"), RuntimeError)
    assert isinstance(raised(python().blobs["py"].reshape, 1, width=2), RuntimeError)
