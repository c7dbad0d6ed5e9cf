"""A solver of one linear layer, whose updates can be written down by hand."""

from __future__ import annotations

import numpy as np
from google.protobuf import text_format
from small_nets import inputs

from caffe.proto import caffe_pb2
from recaffe.solver import Solver, make_solver

# The loss is the sum of w x + b over two rows, so its gradients are constant.
LINEAR = (
    inputs(x=(2, 2))
    + """
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "y" loss_weight: 1 SPECS
  inner_product_param { num_output: 1
    weight_filler { type: "constant" value: 0.5 } bias_filler { type: "constant" value: -2 } } }
"""
)
X = np.array([[1, 2], [3, -6]], np.float32)
GRADIENTS = [np.array([[4.0, -4.0]]), np.array([2.0])]
START = [np.array([[0.5, 0.5]]), np.array([-2.0])]


def make(settings: str, net: str = LINEAR, specs: str = "") -> Solver:
    param = caffe_pb2.SolverParameter(base_lr=0.1, lr_policy="fixed")
    text_format.Merge(settings, param)
    if not any(param.HasField(f"{kind}net{what}") for kind in ("", "train_")
               for what in ("", "_param")):  # fmt: skip
        text_format.Merge(net.replace("SPECS", specs), param.net_param)
    solver = make_solver(param)
    if "x" in solver.net.blobs:
        solver.net.blobs["x"].data[...] = X
    return solver


def values(solver: Solver) -> list[np.ndarray]:
    return [blob.data.copy() for blob in solver.net.learnable]


def trajectory(steps, rate, momentum=0.0, decay=0.0, lr=(1, 1), dm=(1, 1), l1=False, scale=1.0):
    """What the formulas give: the weights after each step, and the last update."""
    weights, history = [w.copy() for w in START], [np.zeros_like(w) for w in START]
    seen = []
    for step in range(steps):
        for i, gradient in enumerate(GRADIENTS):
            pull = np.sign(weights[i]) if l1 else weights[i]
            now = rate(step) * lr[i]
            history[i] = momentum * history[i] + now * (scale * gradient + decay * dm[i] * pull)
            weights[i] = weights[i] - history[i]
        seen.append([w.copy() for w in weights])
    return seen, history
