"""What a solver logs of its nets: outputs, and with ``debug_info`` every layer's numbers.

Source: ``Solver::Step`` and ``Solver::Test`` in ``solver.cpp``; ``ForwardDebugInfo`` and
``BackwardDebugInfo`` in ``net.cpp``.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from recaffe.context import context
from recaffe.net import Net

logger = logging.getLogger(__name__)


def log_outputs(net: Net, kind: str, values: Mapping[str, np.ndarray]) -> None:
    """Log every value of the outputs, numbered through, with what it adds to the loss."""
    weights = {
        name: weight
        for layer, own in zip(net.layers, net.loss_weights, strict=True)
        for name, weight in zip(layer.top_names, own, strict=True)
    }
    each = ((name, float(value)) for name, array in values.items() for value in array.flat)
    for index, (name, value) in enumerate(each):
        weight = weights.get(name, 0.0)
        share = f" (* {weight:g} = {weight * value:g} loss)" if weight else ""
        logger.info("    %s net output #%d: %s = %g%s", kind, index, name, value, share)


def forward(net: Net, record: bool, debug: bool) -> None:
    """A forward pass; with ``debug`` the mean size of every top and parameter is logged."""
    last = len(net.layers) - 1
    if not debug:
        net.forward_layers(0, last, record)
        return
    for index in range(last + 1):
        net.forward_layers(index, index, record)
        _log_forward(net, index)


def forward_backward(net: Net, debug: bool, keep: bool) -> float:
    """Both passes and the loss; with ``debug`` the mean size of every diff is logged as well.

    Args:
        keep: leave every blob's data and diff behind; with ``debug`` they are anyway.
    """
    if not debug:
        return net.forward_backward(keep)
    forward(net, record=True, debug=True)
    for index in reversed(range(len(net.layers))):
        net.backward_layers(index, index, retain=False)
        if net.plan.layer[index]:
            _log_backward(net, index)
    data, diffs = ([tensor.double() for tensor in side] for side in _both_sides(net))
    # BVLC logs this line as an error.
    logger.error(
        "    [Backward] All net params (data, diff): L1 norm = (%g, %g); L2 norm = (%g, %g)",
        *(sum(float(tensor.abs().sum()) for tensor in side) for side in (data, diffs)),
        *(sum(float(tensor.square().sum()) for tensor in side) ** 0.5 for side in (data, diffs)),
    )
    return net.loss()


def _both_sides(net: Net) -> tuple[list[Tensor], list[Tensor]]:
    blobs = net.learnable
    return [blob.data_tensor for blob in blobs], [blob.diff_tensor for blob in blobs]


def _log_forward(net: Net, index: int) -> None:
    if not context.is_root_solver:
        return
    layer = net.layers[index]
    where = f"    [Forward] Layer {layer.name},"
    for name, blob in zip(layer.top_names, net.layer_tops[index], strict=True):
        logger.info("%s top blob %s data: %g", where, name, _size(blob.data_tensor))
    for position, blob in enumerate(layer.blobs):
        specs = layer.param.param
        named = specs[position].name if position < len(specs) else ""
        logger.info("%s param blob %s data: %g", where, named or position, _size(blob.data_tensor))


def _log_backward(net: Net, index: int) -> None:
    if not context.is_root_solver:
        return
    layer = net.layers[index]
    where = f"    [Backward] Layer {layer.name},"
    wanted = net.plan.bottoms[index]
    names, bottoms = layer.param.bottom, net.layer_bottoms[index]
    for name, blob, has_diff in zip(names, bottoms, wanted, strict=True):
        if has_diff:
            logger.info("%s bottom blob %s diff: %g", where, name, _size(blob.diff_tensor))
    for position, blob in enumerate(layer.blobs):
        if net.plan.params[index][position]:
            logger.info("%s param blob %d diff: %g", where, position, _size(blob.diff_tensor))


def _size(tensor: Tensor) -> float:
    """The mean of the absolute values."""
    return float(tensor.abs().mean(dtype=torch.float64))
