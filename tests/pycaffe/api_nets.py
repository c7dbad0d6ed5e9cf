"""The nets of the tests of pycaffe's names."""

from pathlib import Path

import numpy as np

import caffe

IP = """
layer { name: "%s" type: "InnerProduct" bottom: "%s" top: "%s" inner_product_param {
  num_output: %d weight_filler { type: "gaussian" std: 1 }
  bias_filler { type: "constant" value: 0.5 } } }
"""
INPUTS = """
layer { name: "in" type: "Input" top: "data" top: "label"
  input_param { shape { dim: 4 dim: 3 } shape { dim: 4 } } }
"""
SMALL = (
    'name: "small" force_backward: true'
    + INPUTS
    + IP % ("ip", "data", "ip", 5)
    + 'layer { name: "relu" type: "ReLU" bottom: "ip" top: "ip" }'
    + IP % ("ip2", "ip", "ip2", 2)
    + 'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip2" bottom: "label" top: "loss"'
    + " loss_weight: 2 }"
    + 'layer { name: "acc" type: "Accuracy" bottom: "ip2" bottom: "label" top: "acc" '
    + 'include { stage: "score" min_level: 1 } }'
)
# data -> ip -> out = 2 ip, in batches of two
LINEAR = (
    'force_backward: true layer { name: "data" type: "Input" top: "data" '
    + "input_param { shape { dim: 2 dim: 3 } } }"
    + IP % ("ip", "data", "ip", 2)
    + 'layer { name: "double" type: "Power" bottom: "ip" top: "out" power_param { scale: 2 } }'
)
DATA = np.arange(12, dtype=np.float32).reshape(4, 3) / 7
LABEL = np.array([0, 1, 1, 0], np.float32)


def write(name, text):
    Path(name).write_text(text)
    return name


def small(phase=caffe.TEST):
    """SMALL, with something in its inputs."""
    net = caffe.Net(write("small.prototxt", SMALL), phase)
    net.blobs["data"].data[...] = DATA
    net.blobs["label"].data[...] = LABEL
    return net


def linear():
    return caffe.Net(write("linear.prototxt", LINEAR), caffe.TEST)


def weights(net, name="ip"):
    """Copies of a layer's parameters."""
    return [blob.data.copy() for blob in net.params[name]]


def raised(function, *arguments, **options):
    """The exception that a call raises."""
    try:
        function(*arguments, **options)
    except Exception as error:
        return error
    raise AssertionError("no exception")
