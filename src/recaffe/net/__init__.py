"""Nets: from a NetParameter to a graph that runs forward and backward."""

from recaffe.net.net import Net
from recaffe.net.weights import load_weights, save_weights, share_weights

__all__ = ["Net", "load_weights", "save_weights", "share_weights"]
