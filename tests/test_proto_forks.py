"""Weight files of Caffe's forks, whose field numbers clash, and ours, which no one misreads."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from bvlc import Build
from google.protobuf import text_format

from caffe.proto import caffe_pb2
from recaffe.net import Net
from recaffe.net.weights import load_weights, save_weights
from recaffe.proto.schema import TEST
from recaffe.proto.weights import read_weights

# What forks put under the numbers that BVLC has for something else: number, bytes.
CLASHES = {
    "SSD's norm_param": (206, b"\x08\x00\x12\x0f\x0a\x08constant\x15\x00\x00\xa0\x41\x18\x00"),
    "SSD's permute_param": (202, b"\x08\x00\x08\x02\x08\x03\x08\x01"),
    "bn_param in embed_param's place": (
        137,
        b"\x0a\x0f\x0a\x08constant\x15\x00\x00\x80\x3f\x28\x01",
    ),
    "roi_pooling_param in swish_param's place": (147, b"\x08\x07\x10\x07\x1d\x00\x00\x80\x3d"),
    "a string in clip_param's place": (148, b"mask.txt"),
    "broken bytes in pooling_param's place": (121, b"\xff\xff\xff"),
    "Fast R-CNN's roi_pooling_param": (8266711, b"\x08\x07\x10\x07\x1d\x00\x00\x80\x3d"),
}


def varint(number: int) -> bytes:
    low = b""
    while number > 0x7F:
        low += bytes([number & 0x7F | 0x80])
        number >>= 7
    return low + bytes([number])


def framed(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def fork_file(folder: Path, number: int, content: bytes) -> Path:
    """A caffemodel of one layer 'norm' with that field among its others, and one blob [1.5, -2]."""
    blob = framed(7, framed(1, b"\x02")) + framed(5, struct.pack("<2f", 1.5, -2))
    layer = framed(1, b"norm") + framed(2, b"Normalize") + framed(number, content)
    layer += framed(3, b"conv") + framed(7, blob) + varint(number << 3 | 0) + b"\x05"
    path = folder / "fork.caffemodel"
    path.write_bytes(framed(1, b"forked") + framed(100, layer))
    return path


@pytest.mark.parametrize("clash", CLASHES)
def test_of_a_forks_weights_only_names_types_and_blobs_are_read(clash, tmp_path):
    (layer,) = read_weights(fork_file(tmp_path, *CLASHES[clash]))
    assert (layer.name, layer.type) == ("norm", "Normalize")
    np.testing.assert_array_equal(layer.blobs, [np.array([1.5, -2], "f4")])


@pytest.mark.parametrize("clash", CLASHES)
def test_protobuf_gives_a_forks_names_and_blobs_where_it_can_parse_at_all(clash, tmp_path):
    content = fork_file(tmp_path, *CLASHES[clash]).read_bytes()
    if clash.startswith(("a string", "broken")):
        with pytest.raises(Exception, match=r"[Ee]rror parsing"):
            caffe_pb2.NetParameter.FromString(content)
        return
    (layer,) = caffe_pb2.NetParameter.FromString(content).layer
    assert (layer.name, layer.type) == ("norm", "Normalize")
    assert list(layer.blobs[0].data) == [1.5, -2]
    assert not layer.HasField("norm_param")


# -- what is written --------------------------------------------------------------------

FORKED = """
layer { name: "data" type: "Input" top: "data"
  input_param { shape { dim: 1 dim: 4 dim: 5 dim: 5 } } }
layer { name: "conv" type: "DepthwiseConvolution" bottom: "data" top: "conv"
  convolution_param { num_output: 4 kernel_size: 3 group: 4 engine: MKL2017
    weight_filler { type: "gaussian" std: 1 } bias_filler { type: "uniform" } } }
layer { name: "norm" type: "Normalize" bottom: "conv" top: "norm"
  norm_param { across_spatial: false channel_shared: false
    scale_filler { type: "uniform" min: 1 max: 2 } } }
layer { name: "permute" type: "Permute" bottom: "norm" top: "permute"
  permute_param { order: [0, 2, 3, 1] } }
"""
# The same names with types that BVLC has.
BVLCS = """
layer { name: "data" type: "Input" top: "data"
  input_param { shape { dim: 1 dim: 4 dim: 5 dim: 5 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 4 kernel_size: 3 group: 4 } }
layer { name: "norm" type: "Scale" bottom: "conv" top: "norm" }
"""
READ_BY_BVLC = """
import numpy as np
import caffe
from caffe.proto import caffe_pb2

net = caffe.Net("net.prototxt", "ours.caffemodel", caffe.TEST)
found = {
    "%s %d" % (name, index): blob.data
    for name, blobs in net.params.items() for index, blob in enumerate(blobs)
}
parsed = caffe_pb2.NetParameter()
with open("ours.caffemodel", "rb") as stream:
    parsed.ParseFromString(stream.read())
types = [layer.type for layer in parsed.layer]
assert types == ["Input", "DepthwiseConvolution", "Normalize", "Permute"], types
assert parsed.layer[1].convolution_param.engine == 0
net.save("theirs.caffemodel")
np.savez("found.npz", **found)
"""


def forked_net() -> Net:
    return Net(text_format.Parse(FORKED, caffe_pb2.NetParameter()), TEST)


def test_the_forks_fields_of_a_prototxt_are_kept_in_the_weight_file(tmp_path):
    net = forked_net()
    save_weights(net, tmp_path / "ours.caffemodel")
    written = caffe_pb2.NetParameter.FromString((tmp_path / "ours.caffemodel").read_bytes())
    by_name = {layer.name: layer for layer in written.layer}
    assert list(by_name["permute"].permute_param.order) == [0, 2, 3, 1]
    assert not by_name["norm"].norm_param.across_spatial
    assert by_name["conv"].convolution_param.engine == caffe_pb2.ConvolutionParameter.MKL2017
    again = forked_net()
    load_weights(again, tmp_path / "ours.caffemodel")
    for name, blobs in net.params.items():
        for blob, other in zip(blobs, again.params[name], strict=True):
            np.testing.assert_array_equal(blob.data, other.data)


@pytest.mark.oracle
def test_bvlcs_build_reads_a_weight_file_with_the_forks_fields(bvlc: Build, tmp_path):
    net = forked_net()
    save_weights(net, tmp_path / "ours.caffemodel")
    files = {"net.prototxt": BVLCS, "ours.caffemodel": tmp_path / "ours.caffemodel"}
    result = bvlc.python(READ_BY_BVLC, files=files, fetch=["found.npz", "theirs.caffemodel"])
    (tmp_path / "found.npz").write_bytes(result.files["found.npz"])
    found = np.load(tmp_path / "found.npz")
    assert sorted(found) == ["conv 0", "conv 1", "norm 0"]
    for key, values in found.items():
        name, index = key.split()
        np.testing.assert_array_equal(values, net.params[name][int(index)].data)
