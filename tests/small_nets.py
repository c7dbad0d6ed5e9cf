"""Small nets, written in a few words, for tests of nets, weights, solvers and pycaffe."""

from __future__ import annotations

import numpy as np
from google.protobuf import text_format

from caffe.proto import caffe_pb2
from recaffe.net import Net

TRAIN, TEST = 0, 1


def message(text: str):
    return text_format.Parse(text, caffe_pb2.NetParameter())


def build(text: str, phase: int = TRAIN, **state) -> Net:
    return Net(message(text), phase, **state)


def run(net: Net) -> None:
    net.forward_layers(0, len(net.layers) - 1)


def run_back(net: Net) -> None:
    net.backward_layers(len(net.layers) - 1, 0)


def inputs(**shapes: tuple[int, ...]) -> str:
    return "".join(
        f'layer {{ name: "{name}" type: "Input" top: "{name}" input_param {{ shape {{ '
        + " ".join(f"dim: {size}" for size in shape)
        + " } } }\n"
        for name, shape in shapes.items()
    )


def ip(name: str, bottom: str, outputs: int = 3, more: str = "", top: str = "") -> str:
    return f"""layer {{ name: "{name}" type: "InnerProduct" bottom: "{bottom}"
      top: "{top or name}" {more} inner_product_param {{ num_output: {outputs}
      weight_filler {{ type: "xavier" }} bias_filler {{ type: "constant" value: 0.5 }} }} }}\n"""


def relu(name: str, bottom: str, top: str = "") -> str:
    return f'layer {{ name: "{name}" type: "ReLU" bottom: "{bottom}" top: "{top or bottom}" }}\n'


LOSS = 'layer { name: "l" type: "SoftmaxWithLoss" bottom: "ip2" bottom: "label" top: "loss" }\n'
ACCURACY = 'layer { name: "a" type: "Accuracy" bottom: "ip2" bottom: "label" top: "accuracy" }\n'
DATA = inputs(data=(4, 3), label=(4,))
TINY = DATA + ip("ip", "data") + relu("relu", "ip") + ip("ip2", "ip", 2) + LOSS


def filled(text: str, phase: int = TRAIN) -> Net:
    """A net whose data and label hold something."""
    net = build(text, phase)
    random = np.random.default_rng(1)
    if "data" in net.blobs:
        net.blobs["data"].data[...] = random.normal(size=net.blobs["data"].shape)
    if "label" in net.blobs:
        net.blobs["label"].data[...] = [0, 1, 1, 0]
    return net


def diffs(net: Net) -> dict[str, bool]:
    """Run forward and backward; whether each blob and parameter got a gradient."""
    run(net)
    run_back(net)
    found = {name: bool(blob.diff.any()) for name, blob in net.blobs.items()}
    for name, blobs in net.params.items():
        found |= {f"{name}[{i}]": bool(blob.diff.any()) for i, blob in enumerate(blobs)}
    return {name: has for name, has in found.items() if name != "loss"}
