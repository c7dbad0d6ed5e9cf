"""caffe.Net: making nets, what they show, forward and backward, weights."""

import os
import signal
from collections import OrderedDict
from pathlib import Path

import numpy as np
from api_nets import DATA, LABEL, SMALL, linear, raised, small, weights, write

import caffe

ONLY_OURS = {
    "test_copy_from_a_net": "BVLC's copy_from takes files alone, here nets as well",
    "test_single_numbers_in_batches": "BVLC's forward_all fails at an output of one number",
    "test_one_side_alone_in_batches": "BVLC's forward_backward_all fails, contrary to its words",
    "test_absent_weights_can_be_caught": "BVLC's build ends the process",
    "test_backward_takes_diffs_of_single_numbers": "BVLC's asks a single number for its length",
}


# -- making nets --------------------------------------------------------------------------


def test_all_forms_of_the_constructor():
    first = small()
    first.save("w.caffemodel")
    name = "small.prototxt"
    made = [
        caffe.Net(name, "w.caffemodel", 1),
        caffe.Net(name, 1, 0, [], "w.caffemodel"),
        caffe.Net(name, 1, 0, None, "w.caffemodel"),
        caffe.Net(name, 1, weights="w.caffemodel"),
        caffe.Net(name, weights="w.caffemodel", phase=1),
        caffe.Net(network_file=name, phase=1, level=0, stages=[], weights="w.caffemodel"),
    ]
    for net in made:
        np.testing.assert_array_equal(weights(net)[0], weights(first)[0])
        assert list(net._layer_names)[-1] == "loss"
    for net in (caffe.Net(name, 1), caffe.Net(name, 1, weights=None), caffe.Net(name, 1, 0, None)):
        assert (weights(net)[0] != weights(first)[0]).any()


def test_level_and_stages():
    write("small.prototxt", SMALL)

    def last(*arguments, **options):
        return list(caffe.Net("small.prototxt", *arguments, **options)._layer_names)[-1]

    assert last(1, 1, ["score"]) == "acc"
    assert last(1, 1, ("score", "other")) == "acc"
    assert last(1, level=2, stages=["other", "score"]) == "acc"
    assert last(1, 0, ["score"]) == "loss"
    assert last(1, 1, ["other"]) == "loss"
    assert last(1, 1) == "loss"


def test_wrong_arguments_are_type_errors():
    write("small.prototxt", SMALL)
    for arguments in [
        ("small.prototxt",),
        (),
        ("small.prototxt", "w.caffemodel"),
        ("small.prototxt", "w.caffemodel", 1, 0),
        ("small.prototxt", 1.0),
        ("small.prototxt", 1, 0, [], None, 5),
        ("small.prototxt", 1, "0"),
    ]:
        assert isinstance(raised(caffe.Net, *arguments), TypeError), arguments
    assert isinstance(raised(caffe.Net, "small.prototxt", 1, bogus=1), TypeError)
    assert isinstance(raised(caffe.Net, "small.prototxt", 1, phase=1), TypeError)


def test_names_of_files_may_be_bytes():
    first = small()
    first.save(b"w.caffemodel")
    first.save_hdf5(b"w.h5")
    other = caffe.Net(b"small.prototxt", b"w.caffemodel", 1)
    np.testing.assert_array_equal(weights(other)[0], weights(first)[0])
    for load, name in [(other.copy_from, b"w.caffemodel"), (other.load_hdf5, b"w.h5")]:
        other.params["ip"][0].data[...] = 7
        load(name)
        np.testing.assert_array_equal(weights(other)[0], weights(first)[0])
    assert "acc" in caffe.Net(b"small.prototxt", 1, 1, [b"score"], b"w.caffemodel").blobs


def test_absent_files_are_runtime_errors():
    write("small.prototxt", SMALL)
    for arguments in [
        ("absent", 1),
        ("small.prototxt", "absent", 1),
        ("small.prototxt", 1, 0, [], "absent"),
    ]:
        error = raised(caffe.Net, *arguments)
        assert isinstance(error, RuntimeError)
        assert "absent" in str(error)


# -- what a net shows ---------------------------------------------------------------------


def test_names_and_their_order():
    net = caffe.Net(write("small.prototxt", SMALL), 1, 1, ["score"])
    layers = ["in", "label_in_1_split", "ip", "relu", "ip2", "ip2_ip2_0_split", "loss", "acc"]
    blobs = ["data", "label", "label_in_1_split_0", "label_in_1_split_1", "ip", "ip2"]
    blobs += ["ip2_ip2_0_split_0", "ip2_ip2_0_split_1", "loss", "acc"]
    assert list(net._layer_names) == layers
    assert net._layer_names[0] == "in"
    assert net._layer_names[-1] == "acc"
    assert list(net.blobs) == blobs == list(net._blob_names)
    assert list(net.params) == ["ip", "ip2"]
    assert net.inputs == ["data", "label"]
    assert net.outputs == ["acc", "loss"]
    assert [blobs[i] for i in net._inputs] == net.inputs
    assert [blobs[i] for i in net._outputs] == net.outputs
    assert len(net.layers) == len(layers)
    assert [layer.type for layer in net.layers] == [
        "Input", "Split", "InnerProduct", "ReLU", "InnerProduct", "Split", "SoftmaxWithLoss",
        "Accuracy",
    ]  # fmt: skip


def test_layer_dict_and_names_by_layer():
    net = small()
    assert isinstance(net.layer_dict, OrderedDict)
    assert list(net.layer_dict) == list(net._layer_names)
    assert net.layer_dict["relu"].type == "ReLU"
    assert [tuple(blob.shape) for blob in net.layer_dict["ip"].blobs] == [(5, 3), (5,)]
    assert net.top_names == OrderedDict(
        [
            ("in", ["data", "label"]),
            ("ip", ["ip"]),
            ("relu", ["ip"]),
            ("ip2", ["ip2"]),
            ("loss", ["loss"]),
        ]
    )
    assert net.bottom_names == OrderedDict(
        [
            ("in", []),
            ("ip", ["data"]),
            ("relu", ["ip"]),
            ("ip2", ["ip"]),
            ("loss", ["ip2", "label"]),
        ]
    )
    assert list(net._top_ids(0)) == [0, 1]
    assert list(net._bottom_ids(4)) == [3, 1]


def test_blob_loss_weights():
    assert small().blob_loss_weights == OrderedDict(
        [("data", 0), ("label", 0), ("ip", 0), ("ip2", 0), ("loss", 2)]
    )
    unnamed = SMALL.replace('top: "loss"', "")
    net = caffe.Net(write("unnamed.prototxt", unnamed), 1)
    assert net.blob_loss_weights["(automatic)"] == 2
    assert net.top_names["loss"] == ["(automatic)"]
    assert net.outputs == []
    assert net.forward() == {}


def test_users_may_keep_things_on_a_net():
    net = small()
    net.mine = 3
    assert net.mine == 3
    assert net.blobs["ip"].data is not None
    assert net.params["ip"][0].data.shape == (5, 3)
    assert len(net.params["ip"]) == 2
    assert isinstance(raised(lambda: net.params["ip"][5]), IndexError)
    assert isinstance(raised(lambda: net.blobs["nope"]), KeyError)


# -- forward ------------------------------------------------------------------------------


def expected_ip(net, data):
    weight, bias = weights(net)
    return data @ weight.T + bias


def test_forward_returns_arrays_that_are_the_blobs():
    net = small()
    out = net.forward()
    assert list(out) == ["loss"]
    assert isinstance(out["loss"], np.ndarray)
    assert out["loss"].dtype == np.float32
    assert out["loss"].shape == ()
    more = net.forward(blobs=["ip", "ip2"])
    assert sorted(more) == ["ip", "ip2", "loss"]
    assert np.shares_memory(more["ip"], net.blobs["ip"].data)
    kept = more["ip"]
    net.forward(data=2 * DATA, label=LABEL)
    np.testing.assert_allclose(kept, np.maximum(expected_ip(net, 2 * DATA), 0), rtol=1e-5)
    assert sorted(net.forward(["ip"])) == ["ip", "loss"]


def test_forward_of_some_layers():
    net = small()
    net.forward()
    assert list(net.forward(end="ip")) == ["ip"]
    np.testing.assert_allclose(net.blobs["ip"].data, expected_ip(net, DATA), rtol=1e-5, atol=1e-6)
    assert sorted(net.forward(end="ip", blobs=["loss"])) == ["ip", "loss"]
    assert sorted(net.forward(end="in")) == ["data", "label"]
    net.blobs["ip"].data[...] = -1
    out = net.forward(start="relu", end="ip2")
    assert list(out) == ["ip2"]
    np.testing.assert_allclose(out["ip2"], np.tile(weights(net, "ip2")[1], (4, 1)), rtol=1e-6)


def test_forward_by_index_returns_the_loss():
    net = small()
    loss = net.forward()["loss"]
    assert abs(net._forward(0, 4) - 2 * loss) < 1e-5
    assert net._forward(0, 3) == 0
    assert abs(net._forward(4, 4) - 2 * loss) < 1e-5
    assert net._backward(4, 0) is None


def test_forward_takes_other_types_and_shapes_as_numpy_does():
    net = small()
    net.forward(data=DATA.astype(np.float64)[:, :1], label=LABEL.astype(np.int64))
    np.testing.assert_array_equal(net.blobs["data"].data, np.tile(DATA[:, :1], (1, 3)))
    net.forward(data=np.asfortranarray(DATA), label=LABEL)
    np.testing.assert_array_equal(net.blobs["data"].data, DATA)


def test_mistakes_of_forward():
    net = small()
    error = raised(net.forward, data=DATA)
    assert "Input blob arguments do not match net inputs" in str(error)
    assert "Input blob arguments do not match" in str(
        raised(net.forward, data=DATA, label=LABEL, x=LABEL)
    )
    raised(net.forward, data=DATA[:2], label=LABEL)
    assert isinstance(raised(net.forward, data=DATA[:, :2], label=LABEL), ValueError)
    assert isinstance(raised(net.forward, start="nope"), ValueError)
    assert isinstance(raised(net.forward, blobs=["nope"]), KeyError)


# -- backward -----------------------------------------------------------------------------


def test_backward_returns_the_inputs_diffs():
    net = linear()
    net.forward(data=np.ones((2, 3)))
    diff = np.array([[1, 2], [3, 4]], np.float32)
    out = net.backward(out=diff)
    assert list(out) == ["data"]
    np.testing.assert_allclose(out["data"], 2 * diff @ weights(net)[0], rtol=1e-5)
    assert np.shares_memory(out["data"], net.blobs["data"].diff)
    assert sorted(net.backward(diffs=["ip"])) == ["data", "ip"]
    np.testing.assert_array_equal(net.blobs["ip"].diff, 2 * diff)
    # the diffs of parameters are added up
    np.testing.assert_allclose(net.params["ip"][1].diff, 2 * 2 * diff.sum(axis=0))
    net.clear_param_diffs()
    assert not net.params["ip"][1].diff.any()
    net.backward()
    np.testing.assert_allclose(net.params["ip"][1].diff, 2 * diff.sum(axis=0))


def test_backward_of_some_layers():
    net = small()
    net.forward()
    assert sorted(net.backward()) == ["data", "label"]
    assert list(net.backward(end="ip2")) == ["ip"]
    assert sorted(net.backward(end="ip", diffs=["ip2"])) == ["data", "ip2"]
    net.clear_param_diffs()
    net.blobs["ip2"].diff[...] = 1
    out = net.backward(start="ip2", end="ip2")
    np.testing.assert_allclose(
        out["ip"], np.tile(weights(net, "ip2")[0].sum(axis=0), (4, 1)), rtol=1e-5
    )
    assert not net.params["ip"][0].diff.any()
    np.testing.assert_allclose(net.params["ip2"][1].diff, [4, 4])


def test_mistakes_of_backward():
    net = linear()
    net.forward()
    assert "Top diff arguments do not match net outputs" in str(raised(net.backward, x=LABEL))
    raised(net.backward, out=np.ones((1, 2)))
    assert isinstance(raised(net.backward, out=np.ones((2, 3))), ValueError)
    assert isinstance(raised(net.backward, start="nope"), ValueError)
    assert isinstance(raised(net.backward, end="nope"), ValueError)
    assert isinstance(raised(net.backward, diffs=["nope"]), KeyError)


def test_backward_takes_diffs_of_single_numbers():
    net = small()
    net.forward()
    once = net.backward()["data"].copy()
    np.testing.assert_allclose(net.backward(loss=np.array(6.0))["data"], 3 * once, rtol=1e-5)


# -- many batches -------------------------------------------------------------------------

ITEMS = np.arange(15.0).reshape(5, 3) / 5


def test_forward_all():
    net = linear()
    for count in (5, 4, 1, 2):
        out = net.forward_all(data=ITEMS[:count], blobs=["ip"])
        assert sorted(out) == ["ip", "out"]
        assert out["ip"].dtype == np.float32
        expected = expected_ip(net, ITEMS[:count])
        np.testing.assert_allclose(out["ip"], expected, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(out["out"], 2 * expected, rtol=1e-5, atol=1e-6)
    assert list(net.forward_all(data=ITEMS)) == ["out"]
    assert isinstance(raised(net.forward_all), RuntimeError)


def test_forward_all_of_no_items():
    out = linear().forward_all(data=ITEMS[:0], blobs=["ip"])
    assert sorted(out) == ["ip", "out"]
    assert all(array.shape == (0,) for array in out.values())
    outs, ins = linear().forward_backward_all(data=ITEMS[:0], out=ITEMS[:0])
    assert (list(outs), list(ins)) == (["out"], ["data"])
    assert outs["out"].shape == ins["data"].shape == (0,)


def test_the_last_batch_is_filled_up_with_zeros():
    net = linear()
    out = net.forward_all(data=ITEMS)
    np.testing.assert_array_equal(net.blobs["data"].data[1], [0, 0, 0])
    kept = out["out"].copy()
    net.forward(data=np.ones((2, 3)))
    np.testing.assert_array_equal(out["out"], kept)


def test_forward_backward_all():
    net = linear()
    diffs = np.arange(10.0).reshape(5, 2)
    outs, ins = net.forward_backward_all(data=ITEMS, out=diffs, blobs=["ip"], diffs=["ip"])
    assert (sorted(outs), sorted(ins)) == (["ip", "out"], ["data", "ip"])
    np.testing.assert_allclose(outs["ip"], expected_ip(net, ITEMS), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(ins["ip"], 2 * diffs, rtol=1e-6)
    np.testing.assert_allclose(ins["data"], 2 * diffs @ weights(net)[0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(net.params["ip"][1].diff, 2 * diffs.sum(axis=0), rtol=1e-6)


def test_one_side_alone_in_batches():
    net = linear()
    net.blobs["out"].diff[...] = 1
    outs, ins = net.forward_backward_all(data=ITEMS)
    assert outs["out"].shape == (5, 2)
    np.testing.assert_allclose(
        ins["data"], np.tile(2 * weights(net)[0].sum(axis=0), (5, 1)), rtol=1e-5
    )
    assert "nope" in str(raised(net.forward_backward_all, nope=ITEMS))
    assert "5 for 'data', 4 for 'out'" in str(
        raised(net.forward_backward_all, data=ITEMS, out=ITEMS[:4])
    )


def test_single_numbers_in_batches():
    net = small()
    out = net.forward_all(data=np.tile(DATA, (3, 1))[:9], label=np.tile(LABEL, 3)[:9])
    assert out["loss"].shape == (3,)
    assert out["loss"][0] == out["loss"][1] != out["loss"][2]


def test_batches():
    net = linear()
    batches = list(net._batch({"data": ITEMS[:3]}))
    assert [sorted(batch) for batch in batches] == [["data"], ["data"]]
    np.testing.assert_array_equal(batches[0]["data"], ITEMS[:2])
    np.testing.assert_array_equal(batches[1]["data"], [ITEMS[2], [0, 0, 0]])


def test_set_input_arrays():
    text = 'layer { name: "m" type: "MemoryData" top: "data" top: "label" memory_data_param { '
    text += "batch_size: 2 channels: 1 height: 1 width: 3 } }"
    net = caffe.Net(write("memory.prototxt", text), caffe.TEST)
    data = np.arange(12, dtype=np.float32).reshape(4, 1, 1, 3)
    assert net.set_input_arrays(data, np.arange(4, dtype=np.float32)) is None
    for first in (0, 2, 0):
        out = net.forward()
        np.testing.assert_array_equal(out["data"], data[first : first + 2])
        np.testing.assert_array_equal(out["label"].ravel(), [first, first + 1])
    net.set_input_arrays(data[2:], np.ones((2, 1, 1, 1), np.float32))
    np.testing.assert_array_equal(net.forward()["data"], data[2:])
    # an Input net has no such layer; and wrong types and counts are told
    assert isinstance(raised(linear().set_input_arrays, data, data), RuntimeError)
    assert isinstance(raised(net.set_input_arrays, data, np.ones(3, np.float32)), RuntimeError)
    assert isinstance(raised(net.set_input_arrays, data[:3], np.ones(3, np.float32)), RuntimeError)
    assert isinstance(raised(net.set_input_arrays, data.astype("d"), np.ones(4, "f")), RuntimeError)


def test_reshape_follows_the_inputs():
    net = linear()
    net.blobs["data"].reshape(5, 3)
    net.reshape()
    assert tuple(net.blobs["out"].shape) == (5, 2)
    assert net.forward(data=ITEMS)["out"].shape == (5, 2)
    net.blobs["data"].reshape(1, 3)
    assert net.forward()["out"].shape == (1, 2)


# -- weights ------------------------------------------------------------------------------


def test_save_and_copy_from():
    net, other = small(), small()
    assert net.save("w.caffemodel") is None
    other.copy_from("w.caffemodel")
    for name in ("ip", "ip2"):
        for ours, theirs in zip(weights(net, name), weights(other, name)):
            np.testing.assert_array_equal(ours, theirs)
    part = linear()
    message = caffe.proto.caffe_pb2.NetParameter()
    message.ParseFromString(Path("w.caffemodel").read_bytes())
    assert message.name == "small"
    del message.layer[:]
    layer = message.layer.add(name="ip", type="InnerProduct")
    layer.blobs.add(data=[1] * 6).shape.dim.extend([2, 3])
    layer.blobs.add(data=[2] * 2).shape.dim.extend([2])
    Path("part.caffemodel").write_bytes(message.SerializeToString())
    part.copy_from("part.caffemodel")
    np.testing.assert_allclose(part.forward(data=np.ones((2, 3)))["out"], np.full((2, 2), 10))


def test_hdf5():
    net, other, third = small(), small(), small()
    assert net.save_hdf5("w.h5") is None
    other.load_hdf5("w.h5")
    third.copy_from("w.h5")
    for made in (other, third):
        for ours, theirs in zip(weights(net), weights(made)):
            np.testing.assert_array_equal(ours, theirs)
    net.save_hdf5("of.another.name")
    assert Path("of.another.name").read_bytes()[:4] == b"\x89HDF"
    before = weights(other)
    net.params["ip"][0].data[...] = 7
    net.save_hdf5("of.another.name")
    other.load_hdf5("of.another.name")
    assert (weights(other)[0] == 7).all()
    np.testing.assert_array_equal(weights(other)[1], before[1])


def test_share_with():
    net, other = small(), small()
    assert other.share_with(net) is None
    net.params["ip"][0].data[...] = 3
    assert (other.params["ip"][0].data == 3).all()
    other.params["ip"][0].data[...] = 4
    assert (net.params["ip"][0].data == 4).all()
    net.params["ip"][0].diff[...] = 1
    other.params["ip"][0].diff[...] = 2
    assert (net.params["ip"][0].diff == 1).all()
    raised(other.share_with, "small.prototxt")


def test_copy_from_a_net():
    net, other = small(), small()
    other.copy_from(net)
    np.testing.assert_array_equal(weights(net)[0], weights(other)[0])
    net.params["ip"][0].data[...] = 3
    assert (other.params["ip"][0].data != 3).all()
    error = raised(linear().copy_from, net)
    assert isinstance(error, caffe.CaffeError)
    assert "layer 'ip', blob 0" in str(error)


def test_absent_weights_can_be_caught():
    net = small()
    for call in (net.copy_from, net.load_hdf5):
        assert "absent.h5" in str(raised(call, "absent.h5"))
    assert not Path("absent.h5").exists()


# -- hooks --------------------------------------------------------------------------------


def test_hooks():
    net, seen = small(), []

    def note(what):
        return lambda index: seen.append((what, index))

    assert net.before_forward(note("bf")) is None
    assert net.after_forward(note("af")) is None
    assert net.before_backward(note("bb")) is None
    assert net.after_backward(note("ab")) is None
    net.forward()
    assert seen == [(what, index) for index in range(5) for what in ("bf", "af")]
    del seen[:]
    net.backward()
    assert seen == [(what, index) for index in (4, 3, 2, 1, 0) for what in ("bb", "ab")]
    del seen[:]
    net.before_forward(note("second"))
    net.forward(start="ip", end="ip")
    net.backward(start="ip2", end="ip2")
    assert seen == [("bf", 1), ("second", 1), ("af", 1), ("bb", 3), ("ab", 3)]


def test_hooks_find_and_change_blobs():
    net = small()
    found = []

    def after(index):
        if index == 1:
            found.append(net.blobs["ip"].data.copy())
            net.blobs["ip"].data[...] = 1

    net.after_forward(after)
    net.forward()
    np.testing.assert_allclose(found[0], expected_ip(net, DATA), rtol=1e-5, atol=1e-6)
    assert (net.blobs["ip"].data == 1).all()
    weight, bias = weights(net, "ip2")
    np.testing.assert_allclose(
        net.blobs["ip2"].data, np.tile(weight.sum(axis=1) + bias, (4, 1)), rtol=1e-5
    )


def test_hooks_come_before_and_after():
    net = small()

    def before(index):
        if index == 1:
            net.blobs["data"].data[...] = 0

    net.before_forward(before)
    net.forward()
    assert (net.blobs["ip"].data == 0.5).all()

    def before_backward(index):
        if index == 3:
            net.blobs["ip2"].diff[...] = 0

    net.before_backward(before_backward)
    net.backward()
    assert not net.params["ip2"][1].diff.any()
    seen = []
    net.after_backward(lambda index: seen.append(net.blobs["ip2"].diff.any()))
    net.backward()
    assert seen == [True, False, False, False, False]


def test_an_exception_in_a_hook_goes_on():
    net = small()

    def fail(index):
        raise ValueError("layer %d" % index)

    net.after_forward(fail)
    error = raised(net.forward)
    assert isinstance(error, ValueError)
    assert str(error) == "layer 0"


def test_a_forked_process_goes_on_with_the_net():
    """As workers of a pool do, after the net has run in the process that starts them."""
    text = (
        'force_backward: true layer { name: "d" type: "Input" top: "d" '
        "input_param { shape { dim: 8 dim: 3 dim: 64 dim: 64 } } }"
        'layer { name: "c" type: "Convolution" bottom: "d" top: "c" convolution_param { '
        'num_output: 16 kernel_size: 3 weight_filler { type: "constant" value: 0.1 } } }'
    )
    net = caffe.Net(write("fork.prototxt", text), caffe.TEST)
    net.blobs["d"].data[...] = 1
    net.forward()
    net.blobs["c"].diff[...] = 1
    net.backward()
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        net.blobs["d"].data[...] = 2
        net.forward()
        net.backward()
        right = abs(net.blobs["c"].data - 5.4).max() < 1e-4
        os._exit(0 if right else 3)
    assert os.waitpid(child, 0)[1] == 0
