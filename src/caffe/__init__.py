"""pycaffe: the names that Caffe users know, over the runtime of :mod:`recaffe`."""

from caffe import io
from caffe.mode import (
    layer_type_list,
    set_compiled,
    set_device,
    set_mode_cpu,
    set_mode_gpu,
    set_precision,
    set_random_seed,
)
from caffe.net import Net
from caffe.net_spec import NetSpec, layers, params, to_proto
from caffe.solvers import (
    AdaDeltaSolver,
    AdaGradSolver,
    AdamSolver,
    NesterovSolver,
    RMSPropSolver,
    SGDSolver,
    get_solver,
)
from recaffe.blob import Blob
from recaffe.errors import CaffeError
from recaffe.layers.python import UserLayer as Layer
from recaffe.proto.schema import TEST, TRAIN

__all__ = [
    "TEST",
    "TRAIN",
    "AdaDeltaSolver",
    "AdaGradSolver",
    "AdamSolver",
    "Blob",
    "CaffeError",
    "Layer",
    "Net",
    "NesterovSolver",
    "NetSpec",
    "RMSPropSolver",
    "SGDSolver",
    "get_solver",
    "io",
    "layer_type_list",
    "layers",
    "params",
    "set_compiled",
    "set_device",
    "set_mode_cpu",
    "set_mode_gpu",
    "set_precision",
    "set_random_seed",
    "to_proto",
]
