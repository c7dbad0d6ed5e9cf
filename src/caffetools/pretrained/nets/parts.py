"""What the nets of several families have in common."""

from __future__ import annotations

from typing import Any

from caffe.net_spec import layers as L
from caffe.net_spec import params as P
from caffe.proto import caffe_pb2

# Biases learn at twice the rate and do not decay, as in all of BVLC's own nets.
WEIGHTS = {"lr_mult": 1, "decay_mult": 1}
LEARNED = [WEIGHTS, {"lr_mult": 2, "decay_mult": 0}]
IN_TEST = {"phase": caffe_pb2.TEST}


def gaussian(deviation: float) -> dict[str, Any]:
    """A filler that draws from a normal distribution around 0."""
    return {"type": "gaussian", "std": deviation}


def constant(value: float) -> dict[str, Any]:
    """A filler with one value."""
    return {"type": "constant", "value": value}


def max_pool(n: Any, name: str, bottom: Any, kernel: int, stride: int, **more: Any) -> Any:
    """The greatest value of each window."""
    n[name] = L.Pooling(bottom, pool=P.Pooling.MAX, kernel_size=kernel, stride=stride, **more)
    return n[name]


def relu(n: Any, name: str, bottom: Any) -> Any:
    """ReLU in place."""
    n[name] = L.ReLU(bottom, in_place=True)
    return n[name]


def norm(n: Any, name: str, bottom: Any) -> Any:
    """Local response normalization with AlexNet's settings."""
    n[name] = L.LRN(bottom, local_size=5, alpha=1e-4, beta=0.75)
    return n[name]


def accuracy(n: Any, name: str, scores: Any, top_k: int = 1) -> None:
    """The share of entries whose label is among the ``top_k`` best, in the TEST phase."""
    best = {} if top_k == 1 else {"accuracy_param": {"top_k": top_k}}
    n[name] = L.Accuracy(scores, n.label, include=IN_TEST, **best)


def judged(n: Any, scores: Any) -> None:
    """Top-1 and top-5 accuracy, and the loss."""
    accuracy(n, "accuracy", scores)
    accuracy(n, "accuracy_top5", scores, top_k=5)
    n.loss = L.SoftmaxWithLoss(scores, n.label)
