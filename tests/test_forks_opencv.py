"""OpenCV's own versions of the forks' layers, as a witness of ours."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from google.protobuf import text_format
from layer_cases import CASES, TEST, Case

from caffe.proto import caffe_pb2
from recaffe.net import Net
from recaffe.net.weights import save_weights

# It has an Axpy too, but one that multiplies the third bottom and adds the second; SENet's code
# multiplies the second.
KNOWN = {"Normalize", "Permute", "ReLU6", "ShuffleChannel", "Interp", "ROIPooling",
         "ConvolutionDepthwise"}  # fmt: skip
# What OpenCV does otherwise, or cannot do.
OTHERWISE = {
    "relu6 with slope": "it takes no slope",
    "normalize across all": "it reads no blob without axes, as one scale for all is",
    "normalize eps": "it reads no blob without axes",
    "normalize channels": "it reads no blob without axes",
    "normalize across all, a scale a channel": "it takes four axes only",
    "permute one axis named": "it needs all axes named",
    "permute five axes": "it needs all axes named",
    "shuffle channel one group": "it takes four axes only",
    "shuffle channel groups of one": "it takes four axes only",
    "interp shrunk": "it gives an empty image",
    "interp shrunk and zoomed": "it does not shrink",
    "interp cut": "it does not cut",
    "interp cut and zoomed": "it does not cut",
    "interp to another's size": "it does not cut",
    "depthwise without num_output": "it needs num_output",
}
WITNESSED = [c for c in CASES if c.type in KNOWN and c.name not in OTHERWISE]


def run_here(case: Case, folder) -> np.ndarray:
    net = Net(text_format.Parse(case.net(), caffe_pb2.NetParameter()), TEST)
    layer = net.layers[net.layer_names.index("it")]
    for blob, values in zip(layer.blobs, case.params(layer), strict=True):
        blob.data[...] = values
    for index, bottom in enumerate(case.bottoms):
        net.blobs[f"b{index}"].data[...] = bottom
    net.forward_layers(0, len(net.layers) - 1)
    save_weights(net, folder / "it.caffemodel")
    return net.blobs["t0"].data


@pytest.mark.parametrize("case", WITNESSED, ids=lambda case: case.name)
def test_opencv_gives_the_same(case, tmp_path):
    found = run_here(case, tmp_path)
    (tmp_path / "it.prototxt").write_text(case.net())
    witness = cv2.dnn.readNetFromCaffe(
        str(tmp_path / "it.prototxt"), str(tmp_path / "it.caffemodel")
    )
    for index, bottom in enumerate(case.bottoms):
        witness.setInput(bottom, f"b{index}")
    expected = witness.forward()
    assert expected.shape == found.shape
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_every_type_that_opencv_knows_is_witnessed():
    assert {case.type for case in WITNESSED} == KNOWN
