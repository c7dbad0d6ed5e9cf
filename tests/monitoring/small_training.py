"""A net that learns four classes in a few steps, with dropout, so that random numbers count."""

from pathlib import Path

import numpy as np

import caffe
from caffetools.cli import ToolError

INPUTS = """
layer { name: "in" type: "Input" top: "data" top: "label"
  input_param { shape { dim: 8 dim: 6 } shape { dim: 8 } } }
"""
BODY = """
layer { name: "ip1" type: "InnerProduct" bottom: "data" top: "ip1" inner_product_param {
  num_output: 12 weight_filler { type: "xavier" } } }
layer { name: "relu" type: "ReLU" bottom: "ip1" top: "ip1" }
layer { name: "drop" type: "Dropout" bottom: "ip1" top: "ip1" }
layer { name: "score" type: "InnerProduct" bottom: "ip1" top: "score" inner_product_param {
  num_output: 4 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss" }
layer { name: "accuracy" type: "Accuracy" bottom: "score" bottom: "label" top: "accuracy"
  include { phase: TEST } }
"""
SETTINGS = (
    'net: "net.prototxt" base_lr: 0.5 lr_policy: "fixed" momentum: 0.5 max_iter: 100 '
    'random_seed: 3 snapshot_prefix: "snap" test_iter: 1 test_interval: 1000 '
    "test_initialization: false "
)
LABEL = np.array([0, 1, 2, 3, 0, 1, 2, 3], np.float32)
ROWS = np.random.RandomState(0).normal(size=(8, 6)).astype(np.float32) * 0.3
ROWS[np.arange(8), LABEL.astype(int)] += 2


def write(name, text):
    Path(name).write_text(text)
    return name


def solver(more="", body=BODY):
    """A solver whose nets hold the eight rows as their batch."""
    write("net.prototxt", INPUTS + body)
    made = caffe.get_solver(write("solver.prototxt", SETTINGS + more))
    for net in [made.net, *made.test_nets]:
        fill(net)
    return made


def fill(net, rows=ROWS, label=LABEL):
    net.blobs["data"].data[...] = rows
    net.blobs["label"].data[...] = label


def weights(net):
    return {name: [blob.data.copy() for blob in blobs] for name, blobs in net.params.items()}


def assert_same(one, other):
    assert list(one) == list(other)
    for name in one:
        for mine, theirs in zip(one[name], other[name]):
            np.testing.assert_array_equal(mine, theirs)


def entry(each, name, interval=1):
    """A callback as it is registered: the method by its class, and the object."""
    return {"callback": getattr(type(each), name), "object": each, "interval": interval}


def complaint(function, *arguments, **options):
    """What the ToolError says that a call ends in."""
    try:
        function(*arguments, **options)
    except ToolError as error:
        return str(error)
    raise AssertionError("no ToolError")
