"""What the scripts of classic pycaffe work share, and how one of them is run.

    python classic.py NAME          # NAME.npz then holds what NAME.run() found

The scripts need the standard library, numpy, h5py and caffe, and run under our interpreter
and under BVLC's (Python 3.9, NumPy 1.19). Weights start from numpy's RandomState, whose
stream is the same in both, so what they find is the same up to rounding.
"""

import importlib
import pathlib
import sys

import numpy as np

import caffe
from caffe.proto import caffe_pb2

SOLVER = {"lr_policy": "fixed", "random_seed": 1, "snapshot_prefix": "snap"}


def write(name, message):
    """Write a message, or text, to the file ``name``; return the name."""
    pathlib.Path(name).write_text(str(message))
    return name


def make_solver(net, **settings):
    """A solver of ``net``, a NetParameter with both phases in it."""
    param = caffe_pb2.SolverParameter()
    param.net = write("net.prototxt", net)
    for field, value in dict(SOLVER, **settings).items():
        if isinstance(value, list):
            getattr(param, field).extend(value)
        else:
            setattr(param, field, value)
    return caffe.get_solver(write("solver.prototxt", param))


def draw_weights(net, seed, std=0.3):
    """Draw every parameter: matrices by their fan-in, vectors (biases) small."""
    random = np.random.RandomState(seed)
    for blobs in net.params.values():
        for blob in blobs:
            drawn = random.standard_normal(blob.data.shape)
            fan_in = blob.data[0].size if blob.data.ndim > 1 else 0
            blob.data[...] = drawn * (np.sqrt(1.0 / fan_in) if fan_in else std)


def merged(train, test):
    """One NetParameter of two phases' nets, whose layers differ in their settings alone."""
    net = caffe_pb2.NetParameter()
    for in_train, in_test in zip(train.layer, test.layer):
        if in_train == in_test:
            net.layer.add().CopyFrom(in_train)
            continue
        for layer, phase in ((in_train, caffe_pb2.TRAIN), (in_test, caffe_pb2.TEST)):
            net.layer.add().CopyFrom(layer)
            net.layer[-1].include.add().phase = phase
    return net


def main(name):
    caffe.set_mode_cpu()
    np.savez(name + ".npz", **importlib.import_module(name).run())
    print(caffe.__file__)


if __name__ == "__main__":
    main(*sys.argv[1:])
