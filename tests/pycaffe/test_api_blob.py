"""Blobs and layers of pycaffe, from outside and from Python layers."""

import sys

import numpy as np
from api_nets import DATA, linear, raised, small, write

import caffe

ONLY_OURS = {
    "test_more_than_four_axes_have_no_legacy_sizes": "BVLC's build ends the process",
    "test_any_layer_can_be_reshaped_from_outside": "BVLC's wants vectors of its own type",
}

PYTHON = """
import caffe


class Times(caffe.Layer):
    mine = 3

    def setup(self, bottom, top):
        self.calls = ["setup"]
        self.given = bottom[0].count
        self.blobs.add_blob(1)
        self.blobs[0].data[...] = float(self.param_str)

    def reshape(self, bottom, top):
        self.calls.append("reshape")
        top[0].reshape(*bottom[0].shape)

    def forward(self, bottom, top):
        self.calls.append("forward")
        top[0].data[...] = bottom[0].data * self.blobs[0].data[0]

    def backward(self, top, propagate_down, bottom):
        self.calls.append(("backward", list(propagate_down)))
        self.blobs[0].diff[...] += (top[0].diff * bottom[0].data).sum()
        if propagate_down[0]:
            bottom[0].diff[...] = top[0].diff * self.blobs[0].data[0]
"""


def with_python():
    """ip -> times -> ip2, the layer in the middle of class Times."""
    write("times_layer.py", PYTHON)
    if "" not in sys.path:
        sys.path.insert(0, "")
    sys.modules.pop("times_layer", None)
    text = (
        'force_backward: true layer { name: "in" type: "Input" top: "data" '
        "input_param { shape { dim: 2 dim: 3 } } }"
        'layer { name: "double" type: "Power" bottom: "data" top: "double" '
        "power_param { scale: 2 } }"
        'layer { name: "times" type: "Python" bottom: "double" top: "times" python_param { '
        'module: "times_layer" layer: "Times" param_str: "1.5" } }'
        'layer { name: "half" type: "Power" bottom: "times" top: "half" '
        "power_param { scale: 0.5 } }"
    )
    return caffe.Net(write("python.prototxt", text), caffe.TEST)


def test_data_and_diff_are_the_memory():
    blob = small().blobs["data"]
    for side in ("data", "diff"):
        array = getattr(blob, side)
        assert isinstance(array, np.ndarray)
        assert array.dtype == np.float32
        assert array.flags.c_contiguous
        assert array.flags.writeable
        array[...] = 3
        assert (getattr(blob, side) == 3).all()
        getattr(blob, side)[1, 2] = 4
        assert array[1, 2] == 4
        assert isinstance(raised(setattr, blob, side, np.ones((4, 3))), AttributeError)
    blob.data.flat = 5
    assert (blob.data == 5).all()


def test_views_outlive_their_net():
    net = linear()
    net.forward(data=np.ones((2, 3)))
    array = net.blobs["out"].data
    values = array.copy()
    del net
    np.testing.assert_array_equal(array, values)


def test_a_view_stays_the_blobs_memory():
    net = small()
    ip, weight = net.blobs["ip"].data, net.params["ip"][0].data
    net.forward()
    first = ip.copy()
    weight[...] = 0
    net.forward()
    assert (ip == 0.5).all()
    assert (first != 0.5).any()


def test_shapes():
    blob = small().blobs["data"]
    assert list(blob.shape) == [4, 3]
    assert tuple(blob.shape) == (4, 3)
    assert (len(blob.shape), blob.shape[0], blob.shape[-1]) == (2, 4, 3)
    assert isinstance(raised(lambda: blob.shape[2]), IndexError)
    assert blob.count == 12
    assert (blob.num, blob.channels, blob.height, blob.width) == (4, 3, 1, 1)
    for name in ("num", "channels", "height", "width", "count"):
        assert isinstance(raised(setattr, blob, name, 3), AttributeError)


def test_reshape():
    net = small()
    blob = net.blobs["data"]
    assert blob.reshape(2, 3, 5, 7) is None
    assert (blob.num, blob.channels, blob.height, blob.width, blob.count) == (2, 3, 5, 7, 210)
    assert blob.data.shape == blob.diff.shape == (2, 3, 5, 7)
    blob.reshape(*(6,))
    assert blob.data.shape == (6,)
    assert (blob.num, blob.channels) == (6, 1)
    blob.reshape()
    assert blob.data.shape == ()
    assert blob.count == 1
    assert isinstance(raised(blob.reshape, "a"), (TypeError, ValueError))


def test_reshape_keeps_values_in_their_order():
    blob = small().blobs["data"]
    blob.reshape(3, 4)
    np.testing.assert_array_equal(blob.data.ravel(), DATA.ravel())
    blob.reshape(2, 2)
    np.testing.assert_array_equal(blob.data.ravel(), DATA.ravel()[:4])


def test_layers_of_a_net():
    net = small()
    layer = net.layers[1]
    assert layer.type == "InnerProduct"
    assert len(layer.blobs) == 2
    assert layer.blobs[0].data.shape == (5, 3)
    assert np.shares_memory(layer.blobs[0].data, net.params["ip"][0].data)
    assert len(net.layers[0].blobs) == 0
    assert [each.type for each in net.layers][-1] == net.layers[-1].type == "SoftmaxWithLoss"


def test_python_layers_are_the_users_objects():
    net = with_python()
    layer = net.layers[2]
    assert isinstance(layer, sys.modules["times_layer"].Times)
    assert isinstance(layer, caffe.Layer)
    assert layer.type == "Python"
    assert (layer.param_str, layer.phase, layer.mine) == ("1.5", caffe.TEST, 3)
    assert net.layer_dict["times"].param_str == "1.5"
    assert layer.calls == ["setup", "reshape"]
    layer.mine = 4
    assert net.layers[2].mine == 4
    net.forward(data=np.ones((2, 3)))
    assert layer.calls[2:] == ["reshape", "forward"]
    assert (net.blobs["half"].data == 1.5).all()
    net.blobs["half"].diff[...] = 1
    net.backward()
    assert layer.calls[4:] == [("backward", [True])]
    assert (net.blobs["data"].diff == 1.5).all()
    assert list(net.params) == ["times"]
    assert net.params["times"][0].diff[0] == 0.5 * 2 * 6


def test_methods_of_python_layers_from_outside():
    net = with_python()
    layer = net.layers[2]
    bottom, top = [net.blobs["double"]], [net.blobs["times"]]
    bottom[0].data[...] = 2
    assert layer.forward(bottom, top) is None
    assert (top[0].data == 3).all()
    top[0].diff[...] = 4
    layer.backward(top, [True], bottom)
    assert (bottom[0].diff == 6).all()
    layer.backward(top, [False], bottom)
    assert layer.calls[2:] == ["forward", ("backward", [True]), ("backward", [False])]
    bottom[0].reshape(5, 1)
    layer.reshape(bottom, top)
    assert tuple(top[0].shape) == (5, 1)
    layer.setup([net.blobs["data"]], top)
    assert layer.calls == ["setup"]
    assert layer.given == 6


def test_parameters_of_python_layers_are_saved():
    net = with_python()
    net.params["times"][0].data[...] = 7
    net.save("w.caffemodel")
    other = with_python()
    other.copy_from("w.caffemodel")
    assert other.layers[2].blobs[0].data[0] == 7


def test_any_layer_can_be_reshaped_from_outside():
    net = small()
    net.blobs["data"].reshape(9, 3)
    net.layer_dict["ip"].reshape([net.blobs["data"]], [net.blobs["ip"]])
    assert tuple(net.blobs["ip"].shape) == (9, 5)


def test_more_than_four_axes_have_no_legacy_sizes():
    blob = small().blobs["data"]
    blob.reshape(1, 2, 1, 2, 1)
    assert "four axes" in str(raised(lambda: blob.num))
