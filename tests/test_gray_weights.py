"""Weights for images in colour, made to fit gray ones."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import bvlc as bvlc_build
import numpy as np
import pytest
from google.protobuf import text_format

import caffe
from caffe.proto import caffe_pb2
from caffetools import gray_weights
from caffetools.cli import ToolError
from caffetools.weights import read_weights, require_same_colours

RANDOM = np.random.default_rng(0)


def net_of(channels: int) -> str:
    """Two convolutions that read the image, and one that does not."""
    return f"""
    layer {{ name: "data" type: "Input" top: "data"
             input_param {{ shape {{ dim: 2 dim: {channels} dim: 6 dim: 6 }} }} }}
    layer {{ name: "a" type: "Convolution" bottom: "data" top: "a"
             convolution_param {{ num_output: 3 kernel_size: 3 weight_filler {{ type: "xavier" }}
                                  bias_filler {{ value: 0.5 }} }} }}
    layer {{ name: "b" type: "Convolution" bottom: "data" top: "b"
             convolution_param {{ num_output: 3 kernel_size: 3 bias_term: false
                                  weight_filler {{ type: "xavier" }} }} }}
    layer {{ name: "c" type: "Convolution" bottom: "a" top: "c"
             convolution_param {{ num_output: 2 kernel_size: 2 weight_filler {{ type: "xavier" }}
                                  }} }}
    """


def message_of(text: str) -> Any:
    return text_format.Parse(text, caffe_pb2.NetParameter())


ONE = 'layer { name: "conv" type: "Convolution" bottom: "data" blobs { %s } }'
THREE_CHANNELS = "shape { dim: 1 dim: 3 dim: 1 dim: 1 } data: 1 data: 2 data: 4"

ANSWERS = """
import sys, numpy as np, caffe
gray = np.load('gray.npy')
colour = caffe.Net('colour.prototxt', caffe.TEST, weights='colour.caffemodel')
colour.blobs['data'].data[...] = gray
colour.forward()
net = caffe.Net('gray.prototxt', caffe.TEST, weights='gray.caffemodel')
net.blobs['data'].data[...] = gray
net.forward()
for name in 'abc':
    np.testing.assert_allclose(net.blobs[name].data, colour.blobs[name].data, rtol=1e-5, atol=1e-5)
    assert net.blobs[name].data.std() > 0.01
"""


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, channels in (("colour", 3), ("gray", 1)):
        (tmp_path / f"{name}.prototxt").write_text(net_of(channels))
    caffe.Net("colour.prototxt", caffe.TEST).save("colour.caffemodel")
    np.save("gray.npy", RANDOM.normal(size=(2, 1, 6, 6)).astype(np.float32))
    return tmp_path


CONVERT = ["--weights=colour.caffemodel", "--output=gray.caffemodel"]


def test_gray_net_answers_as_the_colour_net_to_gray(files: Path) -> None:
    gray_weights.main(CONVERT)
    exec(ANSWERS, {})
    shapes = {name: blobs[0].shape for name, blobs in read_weights(Path("gray.caffemodel")).items()}
    assert shapes == {"a": (3, 1, 3, 3), "b": (3, 1, 3, 3), "c": (2, 3, 2, 2)}


@pytest.mark.oracle
def test_bvlc_makes_the_same_weights_and_answers_alike(files: Path, bvlc: bvlc_build.Build) -> None:
    gray_weights.main(CONVERT)
    names = ("colour.prototxt", "gray.prototxt", "colour.caffemodel", "gray.npy")
    with bvlc.workplace({name: files / name for name in names}) as place:
        place.module("caffetools.gray_weights", *CONVERT)
        theirs = (place.path / "gray.caffemodel").read_bytes()
        assert theirs == (files / "gray.caffemodel").read_bytes()
        place.python(ANSWERS)


def test_older_format_and_double_data_are_summed() -> None:
    old = (
        'layers { name: "conv" type: CONVOLUTION bottom: "data" blobs '
        "{ num: 1 channels: 3 height: 1 width: 1 data: 1 data: 2 data: 4 } }"
    )
    net = message_of(old)
    assert gray_weights.sum_channels(net, "w") == ["conv"]
    assert (net.layers[0].blobs[0].channels, list(net.layers[0].blobs[0].data)) == (1, [7])
    double = message_of(ONE % THREE_CHANNELS.replace("data", "double_data"))
    gray_weights.sum_channels(double, "w")
    assert double == message_of(ONE % "shape { dim: 1 dim: 1 dim: 1 dim: 1 } data: 7")


def test_gray_weights_stay() -> None:
    net = message_of(ONE % "shape { dim: 1 dim: 1 dim: 1 dim: 2 } data: 1 data: 2")
    before = net.SerializeToString()
    assert gray_weights.sum_channels(net, "w") == []
    assert net.SerializeToString() == before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "w: expected a .caffemodel with weights, found no layer"),
        (
            'layer { name: "ip" type: "InnerProduct" bottom: "data" blobs { data: 1 } }',
            "w: expected a convolution to be the first layer with weights, found 'ip'",
        ),
        (ONE % THREE_CHANNELS.replace("dim: 3", "dim: 4") % (), "kernels of 4 channels"),
        (
            (ONE % THREE_CHANNELS).replace("bottom", "convolution_param { group: 3 } bottom"),
            "kernels of 3 channels in 3 group(s); expected 3 channels to sum",
        ),
    ],
)
def test_what_cannot_be_summed_is_named(text: str, message: str) -> None:
    text = text.replace("data: 4", "data: 4 data: 8") if "dim: 4" in text else text
    with pytest.raises(ToolError, match=re.escape(message)):
        gray_weights.sum_channels(message_of(text), "w")


def test_training_is_told_of_other_colours(files: Path) -> None:
    gray_weights.main(CONVERT)
    colour, gray = (caffe.Net(f"{name}.prototxt", caffe.TEST) for name in ("colour", "gray"))
    require_same_colours(files / "colour.caffemodel", colour.params)
    require_same_colours(files / "gray.caffemodel", gray.params)
    with pytest.raises(ToolError, match=r"'a' learned from images of one channel, .* have 3; ker"):
        require_same_colours(files / "gray.caffemodel", colour.params)
    with pytest.raises(ToolError, match=r"'a' learned from images in colour, .*gray_weights"):
        require_same_colours(files / "colour.caffemodel", gray.params)
