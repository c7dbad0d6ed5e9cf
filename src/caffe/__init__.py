"""pycaffe: the names that Caffe users know, over the runtime of :mod:`recaffe`."""

from caffe import glog, io, pycaffe
from caffe.classifier import Classifier
from caffe.detector import Detector
from caffe.glog import init_log, log
from caffe.mode import (
    has_nccl,
    layer_type_list,
    set_compiled,
    set_device,
    set_mode_cpu,
    set_mode_gpu,
    set_multiprocess,
    set_precision,
    set_random_seed,
    set_solver_count,
    set_solver_rank,
    solver_count,
    solver_rank,
)
from caffe.nccl import NCCL
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
from caffe.timer import Timer
from recaffe.errors import CaffeError
from recaffe.proto.schema import TEST, TRAIN
from recaffe.user import UserBlob as Blob
from recaffe.user import UserLayer as Layer

# What scripts that ask mean is the release whose names and numbers these are.
__version__ = "1.0.0"

__all__ = [
    "TEST",
    "TRAIN",
    "Timer",
    "AdaDeltaSolver",
    "AdaGradSolver",
    "AdamSolver",
    "Blob",
    "CaffeError",
    "Classifier",
    "Detector",
    "Layer",
    "NCCL",
    "Net",
    "NesterovSolver",
    "NetSpec",
    "RMSPropSolver",
    "SGDSolver",
    "get_solver",
    "has_nccl",
    "init_log",
    "io",
    "layer_type_list",
    "layers",
    "log",
    "params",
    "pycaffe",
    "set_compiled",
    "set_device",
    "set_mode_cpu",
    "set_mode_gpu",
    "set_multiprocess",
    "set_precision",
    "set_random_seed",
    "set_solver_count",
    "set_solver_rank",
    "solver_count",
    "solver_rank",
    "to_proto",
]

glog.install()
