"""Nets: from a NetParameter to a graph that runs forward and backward."""

from recaffe.net.load_report import LoadReport
from recaffe.net.net import Net
from recaffe.net.weights import copy_weights, load_weights, save_hdf5, save_weights, share_weights

__all__ = [
    "LoadReport",
    "Net",
    "copy_weights",
    "load_weights",
    "save_hdf5",
    "save_weights",
    "share_weights",
]
