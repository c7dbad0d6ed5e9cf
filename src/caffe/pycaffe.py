"""Where BVLC's package keeps its nets, layers and solvers, for scripts that look for them here."""

from caffe.nccl import NCCL
from caffe.net import Net
from caffe.solvers import (
    AdaDeltaSolver,
    AdaGradSolver,
    AdamSolver,
    NesterovSolver,
    RMSPropSolver,
    SGDSolver,
)
from caffe.timer import Timer
from recaffe.errors import CaffeError
from recaffe.proto.schema import TEST, TRAIN
from recaffe.user import UserBlob as Blob
from recaffe.user import UserLayer as Layer

__all__ = [
    "TEST",
    "TRAIN",
    "AdaDeltaSolver",
    "AdaGradSolver",
    "AdamSolver",
    "Blob",
    "CaffeError",
    "Layer",
    "NCCL",
    "NesterovSolver",
    "Net",
    "RMSPropSolver",
    "SGDSolver",
    "Timer",
]
