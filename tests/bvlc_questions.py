"""Questions to BVLC's build: scripts that set ``answer``, which comes back as JSON."""

from __future__ import annotations

from typing import Any

from bvlc import Build

# What every question starts with.
PRELUDE = """
import json, math, sys
import numpy as np
import caffe
from caffe.proto import caffe_pb2

def net(text, phase=caffe.TEST):
    with open("net.prototxt", "w") as stream:
        stream.write(text)
    return caffe.Net("net.prototxt", phase)

def blob(name, *shape):
    dims = " ".join("dim: %d" % size for size in shape)
    layer = 'layer { name: "%s" type: "Input" top: "%s" input_param { shape { %s } } }\\n'
    return layer % (name, name, dims)

def run(layer, data, label=None, phase=caffe.TEST):
    # One layer from bottoms `data` and `label` to the top `top`, forward and backward.
    data = np.asarray(data, "f")
    text = "force_backward: true\\n" + blob("data", *data.shape)
    if label is not None:
        text += blob("label", *np.shape(label))
    made = net(text + layer, phase)
    made.blobs["data"].data[...] = data
    if label is not None:
        made.blobs["label"].data[...] = label
    made.forward()
    top = made.blobs["top" if "top" in made.blobs else "data"]
    return made, top

def jsonable(value):
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    raise TypeError(type(value))

"""
POSTLUDE = "\njson.dump(answer, sys.stdout, default=jsonable)\n"


def ask(bvlc: Build, question: str, *arguments: str, **options: Any) -> Any:
    return bvlc.python(PRELUDE + question + POSTLUDE, *arguments, **options).json()


# A small net and solver for questions about both.
TINY = """
TINY = '''
name: "tiny"
layer { name: "data" type: "DummyData" top: "data" top: "label" dummy_data_param {
  shape { dim: 4 dim: 3 } shape { dim: 4 }
  data_filler { type: "constant" value: 1 } data_filler { type: "constant" value: 1 } } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
  param { lr_mult: 1 decay_mult: 1 } param { lr_mult: 2 decay_mult: 0 }
  inner_product_param { num_output: 3
    weight_filler { type: "gaussian" std: 0.5 } bias_filler { type: "constant" value: 0.5 } } }
layer { name: "relu" type: "ReLU" bottom: "ip" top: "ip" }
layer { name: "ip2" type: "InnerProduct" bottom: "ip" top: "ip2" param { lr_mult: 0 }
  inner_product_param { num_output: 2 weight_filler { type: "gaussian" std: 0.5 } } }
layer { name: "l" type: "SoftmaxWithLoss" bottom: "ip2" bottom: "label" top: "loss" }
layer { name: "a" type: "Accuracy" bottom: "ip2" bottom: "label" top: "accuracy"
  include { phase: TEST } }
'''

def solver(more):
    with open("net.prototxt", "w") as stream:
        stream.write(TINY)
    with open("solver.prototxt", "w") as stream:
        stream.write('net: "net.prototxt" lr_policy: "fixed" base_lr: 0.1 momentum: 0.9 '
                     'weight_decay: 0.05 random_seed: 3 snapshot_prefix: "snap" ' + more)
    return caffe.get_solver("solver.prototxt")

def read(message, path):
    with open(path, "rb") as stream:
        message.ParseFromString(stream.read())
    return message

def fields(message):
    return [field.name for field, _ in message.ListFields()]
"""
