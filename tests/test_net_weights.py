"""Weights of nets: saved, copied by layer name, and exchanged with BVLC's build."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from bvlc import Build
from google.protobuf import text_format
from recipes import read_model
from small_nets import DATA, LOSS, TEST, TINY, build, filled, inputs, ip, message, relu, run

from caffe.proto import caffe_pb2
from recaffe.context import context
from recaffe.errors import FormatError, ShapeMismatchError
from recaffe.net import Net, load_weights, save_weights

GROUPED = """
name: "grouped"
layer { name: "data" type: "Input" top: "data" input_param { shape {
  dim: 2 dim: 4 dim: 9 dim: 9 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param {
  num_output: 6 kernel_size: 3 pad: 1 stride: 2 group: 2 weight_filler { type: "xavier" }
  bias_filler { type: "uniform" min: -0.5 max: 0.5 } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "norm" type: "LRN" bottom: "conv" top: "norm"
  lrn_param { local_size: 3 alpha: 1 beta: 0.75 k: 2 } }
layer { name: "pool" type: "Pooling" bottom: "norm" top: "pool"
  pooling_param { pool: AVE kernel_size: 3 stride: 2 } }
layer { name: "ip" type: "InnerProduct" bottom: "pool" top: "ip" inner_product_param {
  num_output: 5 weight_filler { type: "msra" } bias_filler { type: "gaussian" std: 1 } } }
layer { name: "prob" type: "Softmax" bottom: "ip" top: "prob" }
"""


@pytest.fixture(autouse=True)
def _seeded() -> None:
    context.seed(1)


def values(net: Net) -> list[np.ndarray]:
    return [blob.data.copy() for blob in net.learnable]


def test_saved_weights_come_back_bit_for_bit(tmp_path):
    net, other = filled(TINY), filled(TINY)
    save_weights(net, tmp_path / "a.caffemodel")
    load_weights(other, tmp_path / "a.caffemodel")
    for found, expected in zip(values(other), values(net), strict=True):
        np.testing.assert_array_equal(found, expected)
    save_weights(other, tmp_path / "b.caffemodel")
    assert (tmp_path / "a.caffemodel").read_bytes() == (tmp_path / "b.caffemodel").read_bytes()


def test_a_saved_net_holds_what_bvlcs_does(tmp_path):
    """Its layers, splits too, with phase and loss weight; of the net only the name."""
    net = build('name: "tiny"' + TINY + relu("again", "ip2", "again"), TEST)
    save_weights(net, tmp_path / "w.caffemodel", with_diff=True)
    saved = caffe_pb2.NetParameter.FromString((tmp_path / "w.caffemodel").read_bytes())
    assert [field.name for field, _ in saved.ListFields()] == ["name", "layer"]
    assert [layer.name for layer in saved.layer] == net.layer_names
    layers = {layer.name: layer for layer in saved.layer}
    assert {layer.phase for layer in saved.layer} == {TEST}
    assert list(layers["l"].loss_weight) == [1]
    assert list(layers["l"].bottom) == ["ip2_ip2_0_split_0", "label"]
    assert [len(layer.blobs) for layer in saved.layer] == [0, 0, 2, 0, 2, 0, 0, 0]
    weights = layers["ip"].blobs[0]
    assert list(weights.shape.dim) == [3, 3]
    assert len(weights.data) == len(weights.diff) == 9
    save_weights(net, tmp_path / "w.caffemodel")
    saved = caffe_pb2.NetParameter.FromString((tmp_path / "w.caffemodel").read_bytes())
    assert not saved.layer[2].blobs[0].diff


def test_weights_go_by_the_layers_name(tmp_path):
    save_weights(filled(TINY), tmp_path / "w.caffemodel")
    source = filled(TINY)
    load_weights(source, tmp_path / "w.caffemodel")
    text = DATA + ip("ip", "data") + relu("relu", "ip") + ip("renamed", "ip", 2, top="ip2") + LOSS
    net = filled(text)
    fresh = net.params["renamed"][0].data.copy()
    load_weights(net, tmp_path / "w.caffemodel")
    np.testing.assert_array_equal(net.params["ip"][0].data, source.params["ip"][0].data)
    np.testing.assert_array_equal(net.params["renamed"][0].data, fresh)


@pytest.mark.parametrize(
    ("more", "says"),
    [("5", r"layer 'ip2', blob 0: the file holds the shape \[2, 3\], .* has \[5, 3\]; rename"),
     ("2 bias_term: false", r"layer 'ip2' holds 2 blob\(s\), .* has 1; rename")],
)  # fmt: skip
def test_a_layer_that_does_not_fit_leaves_all_layers_as_they_were(tmp_path, more, says):
    save_weights(filled(TINY), tmp_path / "w.caffemodel")
    net = filled(TINY.replace("num_output: 2", f"num_output: {more}"))
    before = values(net)
    with pytest.raises(ShapeMismatchError, match=says) as told:
        load_weights(net, tmp_path / "w.caffemodel")
    assert "w.caffemodel" in str(told.value)
    for found, expected in zip(values(net), before, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_a_v1_file_with_shapes_of_four_numbers(tmp_path):
    old = caffe_pb2.NetParameter(name="old")
    layer = old.layers.add(name="ip", type=caffe_pb2.V1LayerParameter.INNER_PRODUCT)
    layer.blobs.add(num=1, channels=1, height=3, width=3, data=range(9))
    layer.blobs.add(num=1, channels=1, height=1, width=3, data=[9, 10, 11])
    (tmp_path / "old.caffemodel").write_bytes(old.SerializeToString())
    net = filled(TINY)
    load_weights(net, tmp_path / "old.caffemodel")
    np.testing.assert_array_equal(net.params["ip"][0].data, np.arange(9).reshape(3, 3))
    np.testing.assert_array_equal(net.params["ip"][1].data, [9, 10, 11])


def test_weights_go_through_a_view_that_was_handed_out(tmp_path):
    source, net = filled(TINY), filled(TINY)
    view = net.params["ip"][0].data
    save_weights(source, tmp_path / "w.caffemodel")
    load_weights(net, tmp_path / "w.caffemodel")
    np.testing.assert_array_equal(view, source.params["ip"][0].data)


def test_no_file_is_told(tmp_path):
    with pytest.raises(FormatError, match=r"absent\.caffemodel: no such file"):
        load_weights(filled(TINY), tmp_path / "absent.caffemodel")


# -- with BVLC's build --------------------------------------------------------------------

EXCHANGE = """
import json, sys
import numpy as np
import caffe

answer, outputs = {}, {}
data = np.load("data.npz")
for name in json.loads(sys.argv[1]):
    def made():
        net = caffe.Net(name + ".prototxt", caffe.TEST)
        net.blobs["data"].data[...] = data[name]
        return net
    net = made()
    outputs[name + " theirs"] = net.forward()["prob"].copy()
    net.save(name + ".theirs")
    net = made()
    net.copy_from(name + ".ours")
    outputs[name + " ours"] = net.forward()["prob"].copy()
np.savez("outputs.npz", **outputs)
"""


def lenet_deploy() -> str:
    """LeNet on random numbers, ending in probabilities."""
    net, _ = read_model("lenet")
    layers = [x for x in net.layer if x.type not in ("Data", "SoftmaxWithLoss", "Accuracy")]
    body = caffe_pb2.NetParameter(layer=layers)
    prob = f'layer {{ name: "prob" type: "Softmax" bottom: "{layers[-1].top[0]}" top: "prob" }}'
    return inputs(data=(2, 1, 28, 28)) + text_format.MessageToString(body) + prob


@pytest.mark.oracle
def test_weights_are_exchanged_with_bvlc_both_ways(bvlc: Build, tmp_path: Path) -> None:
    texts = {"lenet": lenet_deploy(), "grouped": GROUPED}
    data, ours, files = {}, {}, {}
    for name, text in texts.items():
        net = build(text, TEST)
        data[name] = np.random.default_rng(4).normal(size=net.blobs["data"].shape).astype("f4")
        net.blobs["data"].data[...] = data[name]
        run(net)
        ours[name] = net.blobs["prob"].data.copy()
        save_weights(net, tmp_path / f"{name}.ours")
        files |= {f"{name}.ours": tmp_path / f"{name}.ours", f"{name}.prototxt": text}
    packed = io.BytesIO()
    np.savez(packed, **data)
    files["data.npz"] = packed.getvalue()
    fetch = ["outputs.npz", *(f"{name}.theirs" for name in texts)]
    result = bvlc.python(EXCHANGE, json.dumps(list(texts)), files=files, fetch=fetch)
    outputs = np.load(io.BytesIO(result.files["outputs.npz"]))
    for name, text in texts.items():
        np.testing.assert_allclose(outputs[f"{name} ours"], ours[name], atol=1e-6)
        (tmp_path / "theirs.caffemodel").write_bytes(result.files[f"{name}.theirs"])
        net = build(text, TEST)
        net.blobs["data"].data[...] = data[name]
        load_weights(net, tmp_path / "theirs.caffemodel")
        run(net)
        np.testing.assert_allclose(net.blobs["prob"].data, outputs[f"{name} theirs"], atol=1e-6)
        # other weights, so other outputs: neither side went on with its own
        assert np.abs(outputs[f"{name} theirs"] - ours[name]).max() > 1e-3


@pytest.mark.oracle
@pytest.mark.parametrize("model", ["lenet", "caffenet"])
def test_layers_and_blobs_have_bvlcs_names_and_shapes(bvlc: Build, model: str) -> None:
    net, _ = read_model(model)
    kept = [layer for layer in net.layer if layer.type != "Data"]
    crop = 28 if model == "lenet" else 227
    shape = (2, 1 if model == "lenet" else 3, crop, crop)
    # the Data layers' tops without their LMDBs, one after the other so that they share a split
    data = inputs(data=shape, label=(2,))
    text = data + text_format.MessageToString(caffe_pb2.NetParameter(layer=kept))
    question = """
import json, sys
import caffe
answer = []
for phase in (caffe.TRAIN, caffe.TEST):
    net = caffe.Net("net.prototxt", phase)
    answer.append({"layers": list(net._layer_names), "outputs": net.outputs,
                   "inputs": net.inputs,
                   "blobs": [[name, list(blob.data.shape)] for name, blob in net.blobs.items()],
                   "params": [[name, [list(b.data.shape) for b in blobs]]
                              for name, blobs in net.params.items()]})
json.dump(answer, sys.stdout)
"""
    theirs = bvlc.python(question, files={"net.prototxt": text}).json()
    for phase, expected in enumerate(theirs):
        made = Net(message(text), phase)
        assert {
            "layers": made.layer_names,
            "outputs": made.outputs,
            "inputs": made.inputs,
            "blobs": [[name, list(blob.shape)] for name, blob in made.blobs.items()],
            "params": [[n, [list(b.shape) for b in blobs]] for n, blobs in made.params.items()],
        } == expected
    assert theirs[0] != theirs[1]
