"""The normalisation of box targets, within a net's weights and out of them.

A detector that learns ``(deltas - means) / stds`` gives such values while it is trained. Published
ones are to give deltas: the layer that gives them, ``bbox_pred``, has in its file

    weight' = stds weight,    bias' = stds bias + means

for each class' four values. So snapshots are written, and what is loaded to be trained is brought
back.

Source: ``SolverWrapper.snapshot`` in ``fast_rcnn/train.py`` of py-faster-rcnn.
"""

from __future__ import annotations

import base64
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from recaffe.blob import Blob
from recaffe.detection.proposal_targets import MEANS, STDS
from recaffe.errors import DataError
from recaffe.layers import Layer
from recaffe.layers.inner_product import InnerProduct
from recaffe.layers.proposal_target import ProposalTargetLayer

if TYPE_CHECKING:
    from recaffe.net import Net

_TARGETS = 2  # which top of a ProposalTargetLayer


def regressors(net: Net) -> list[Layer]:
    """The InnerProduct layers whose loss compares them with normalised targets."""
    makers = {
        id(blob): (index, place)
        for index, tops in enumerate(net.layer_tops)
        for place, blob in enumerate(tops)
    }

    def maker(blob: Blob) -> tuple[Layer | None, int]:
        index, place = makers.get(id(blob), (-1, 0))
        if index < 0:
            return None, 0
        layer = net.layers[index]
        return maker(net.layer_bottoms[index][0]) if layer.type == "Split" else (layer, place)

    found: list[Layer] = []
    for layer, bottoms in zip(net.layers, net.layer_bottoms, strict=True):
        if layer.type == "SmoothL1Loss":
            learner, _ = maker(bottoms[0])
            teacher, place = maker(bottoms[1])
            if isinstance(teacher, ProposalTargetLayer) and place == _TARGETS:
                found += [learner] if isinstance(learner, InnerProduct) else []
    return found


@contextmanager
def folded(net: Net) -> Iterator[None]:
    """Within, the net's weights are as published; after it they are, bit for bit, as before."""
    changed = [blob for layer in regressors(net) for blob in layer.blobs]
    kept = [blob.data_tensor.clone() for blob in changed]
    for layer in regressors(net):
        _scale(layer, inverse=False)
    try:
        yield
    finally:
        for blob, values in zip(changed, kept, strict=True):
            blob.set_data(values)


def unfold(net: Net, loaded: Collection[str]) -> list[str]:
    """Bring weights that were loaded as published back to what is trained.

    Args:
        loaded: the layers that were; others are left alone.

    Returns:
        The layers that this concerned.
    """
    layers = [layer for layer in regressors(net) if layer.name in loaded]
    for layer in layers:
        _scale(layer, inverse=True)
    return [layer.name for layer in layers]


def _scale(layer: Layer, inverse: bool) -> None:
    weight, *bias = layer.blobs
    stds, means = (
        weight.data_tensor.new_tensor(values).repeat(
            layer.param.inner_product_param.num_output // 4
        )
        for values in (STDS, MEANS)
    )
    per_output = stds[None] if layer.param.inner_product_param.transpose else stds[:, None]
    with torch.no_grad():
        values = weight.data_tensor.reshape(weight.shape)
        weight.set_data(values / per_output if inverse else values * per_output)
        for blob in bias:
            values = blob.data_tensor
            blob.set_data((values - means) / stds if inverse else values * stds + means)


def exact(net: Net) -> dict[str, list[str]]:
    """The regressors' parameters, which no unfolding gives back to the bit, as JSON's values."""
    return {
        layer.name: [base64.b85encode(blob.data.tobytes()).decode() for blob in layer.blobs]
        for layer in regressors(net)
    }


def set_exact(net: Net, told: Mapping[str, list[str]]) -> None:
    """Take the parameters that :func:`exact` gave.

    Raises:
        DataError: they are not those of this net's layers.
    """
    for layer in regressors(net):
        if layer.name not in told:
            continue
        try:
            found = [np.frombuffer(base64.b85decode(text), "<f4") for text in told[layer.name]]
            values = [
                array.reshape(blob.shape) for array, blob in zip(found, layer.blobs, strict=True)
            ]
        except (ValueError, TypeError) as error:
            raise DataError(f"layer '{layer.name}': its parameters do not fit ({error})") from None
        for blob, array in zip(layer.blobs, values, strict=True):
            blob.set_data(_like(blob, array))


def _like(blob: Blob, array: np.ndarray) -> Tensor:
    return torch.tensor(array).to(blob.data_tensor.device)
