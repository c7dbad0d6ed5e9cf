"""Which blobs are one memory, what stays when they are written to, and what backward reads."""

import numpy as np
from api_nets import write

import caffe

IN = (
    'force_backward: true layer { name: "d" type: "Input" top: "d" '
    "input_param { shape { dim: 1 dim: 4 } } }"
)
DOUBLE = (
    'layer { name: "%s" type: "Power" bottom: "%s" top: "%s" power_param { scale: 2 shift: 1 } }'
)


def made(text, phase=caffe.TEST):
    return caffe.Net(write("memory.prototxt", IN + text), phase)


def double(bottom, top):
    return DOUBLE % (top, bottom, top)


def test_a_blob_that_is_read_twice_is_written_for_both():
    net = made(double("d", "ip") + double("ip", "a") + double("ip", "b"))
    net.forward()
    net.blobs["ip"].data[...] = 5
    found = net.forward(start="a")
    assert (found["a"] == 11).all()
    assert (found["b"] == 11).all()
    names = [name for name in net.blobs if name.startswith("ip")]
    assert names == ["ip", "ip_ip_0_split_0", "ip_ip_0_split_1"]
    for name in names[1:]:
        assert np.shares_memory(net.blobs["ip"].data, net.blobs[name].data)
        assert not np.shares_memory(net.blobs["ip"].diff, net.blobs[name].diff)


def test_what_a_hook_writes_reaches_all_that_read_it():
    net = made(double("d", "ip") + double("ip", "a") + double("ip", "b"))

    def write_after(index):
        if net._layer_names[index] == "a":
            net.blobs["ip"].data[...] = 10

    net.after_forward(write_after)
    found = net.forward()
    assert (found["a"] == 3).all()
    assert (found["b"] == 21).all()


def test_layers_that_only_reshape_have_no_memory_of_their_own():
    for layer in (
        'type: "Flatten"',
        'type: "Reshape" reshape_param { shape { dim: 2 dim: -1 } }',
        'type: "Concat"',
        'type: "Slice"',
    ):
        net = made('layer { name: "it" bottom: "d" top: "it" %s }' % layer + double("it", "e"))
        net.forward()
        net.blobs["d"].data[...] = 3
        assert (net.forward(start="e")["e"] == 7).all()
        net.blobs["it"].data[...] = 9
        assert (net.blobs["d"].data == 9).all()
        net.blobs["e"].diff[...] = 5
        net.backward()
        assert (net.blobs["d"].diff == 10).all()
        net.blobs["it"].diff[...] = 4
        assert (net.blobs["d"].diff == 4).all()


def test_what_works_in_place_behind_them_changes_the_bottom():
    net = made('layer { name: "f" type: "Flatten" bottom: "d" top: "f" }' + double("f", "f"))
    net.forward(d=np.ones((1, 4)))
    assert (net.blobs["d"].data == 3).all()


def test_memory_outlasts_a_smaller_shape():
    net = made(double("d", "e"))
    out, diff = net.blobs["e"].data, net.blobs["e"].diff
    net.blobs["d"].data[...] = 1
    net.forward()
    net.blobs["d"].reshape(1, 2)
    net.blobs["d"].data[...] = 5
    net.forward()
    assert out.ravel().tolist() == [11, 11, 3, 3]
    net.blobs["e"].diff[...] = 7
    assert diff.ravel().tolist()[:2] == [7, 7]
    net.blobs["d"].reshape(1, 4)
    assert net.blobs["d"].data.ravel().tolist() == [5, 5, 1, 1]
    net.blobs["d"].reshape(1, 5)
    assert net.blobs["d"].data.ravel().tolist() == [0] * 5
