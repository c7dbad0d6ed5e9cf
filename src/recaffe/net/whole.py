"""A training step's forward and backward as one graph, in which no blob is filled.

Layer by layer every blob's data and diff is there to be looked at, and so must be kept. Here
one autograd graph spans all layers: what a layer needs no more is freed on the way, forward
and backward. Layers and the plan of gradients are the same, and so are the numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from recaffe.blob import Blob
from recaffe.context import context
from recaffe.layers import BlobLayer

if TYPE_CHECKING:
    from recaffe.net.net import Net


def can_run_whole(net: Net) -> bool:
    """Whether all layers are functions: none works on blobs themselves."""
    return not any(isinstance(layer, BlobLayer) for layer in net.layers)


def run_whole(net: Net) -> None:
    """Run ``net`` forward and backward; add to the parameters' diffs, set the outputs' data.

    What blobs hold besides is released, unless somebody keeps a view of it.
    """
    losses = [
        top
        for tops, weights in zip(net.layer_tops, net.loss_weights, strict=True)
        for top, weight in zip(tops, weights, strict=True)
        if weight
    ]
    kept = {net.blobs[name] for name in net.outputs}.union(losses)
    for layer, tops in zip(net.layers, net.layer_tops, strict=True):
        if layer.type != "Input":
            for top in set(tops) - kept:
                top.release()
    leaves = {blob: blob.data_tensor.detach().requires_grad_() for blob in net.learnable}
    half = context.precision == "bf16"
    with torch.autocast(net.device.type, torch.bfloat16, enabled=half):
        values = _forward(net, leaves, kept)
    for blob in kept & values.keys():
        blob.set_data(values[blob].detach().float())
    starts = [
        (values[top], top.diff_tensor.to(values[top].dtype))
        for top in losses
        if values[top].requires_grad
    ]
    del values
    if not starts:
        return
    gradients = torch.autograd.grad(
        [tensor for tensor, _ in starts],
        list(leaves.values()),
        [diff for _, diff in starts],
        allow_unused=True,
    )
    for blob, gradient in zip(leaves, gradients, strict=True):
        if gradient is not None:
            blob.add_diff(gradient)


def _forward(net: Net, leaves: dict[Blob, Tensor], kept: set[Blob]) -> dict[Blob, Tensor]:
    """The values of the blobs ``kept``; each other one is let go after its last consumer."""
    values: dict[Blob, Tensor] = {}
    last_use = {blob: index for index, bottoms in enumerate(net.layer_bottoms) for blob in bottoms}
    for index, layer in enumerate(net.layers):
        bottoms = net.layer_bottoms[index]
        inputs = [
            _or_constant(_value(values, blob), wanted)
            for blob, wanted in zip(bottoms, net.plan.bottoms[index], strict=True)
        ]
        params = [
            _or_constant(leaves[blob.owner].view(blob.shape), wanted)
            for blob, wanted in zip(layer.blobs, net.plan.params[index], strict=True)
        ]
        net.follow_shapes(index, [tuple(tensor.shape) for tensor in inputs])
        with torch.set_grad_enabled(net.plan.layer[index]):
            tops = layer.forward(inputs, params)
        for blob in bottoms:
            if last_use[blob] == index and blob not in kept:
                values.pop(blob, None)
        values.update(zip(net.layer_tops[index], tops, strict=False))
    return values


def _value(values: dict[Blob, Tensor], blob: Blob) -> Tensor:
    if blob in values:
        return values[blob]
    return blob.data_tensor  # an Input layer leaves its tops there


def _or_constant(tensor: Tensor, wanted: bool) -> Tensor:
    return tensor if wanted else tensor.detach()
