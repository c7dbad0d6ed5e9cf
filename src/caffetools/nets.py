"""What is looked up of a net time and again, through pycaffe alone.

A ``net`` is a ``caffe.Net``, a solver's for instance. Nothing here runs it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from caffetools.cli import ToolError

_JUDGES = ("SoftmaxWithLoss", "InfogainLoss")


def layer_names(net: Any) -> list[str]:
    """The layers in forward order, without the Split layers that Caffe puts in by itself."""
    return [name for name, layer in zip(net._layer_names, net.layers) if layer.type != "Split"]


def batch_size(net: Any) -> int:
    """How many entries a batch has: the first axis of the blob ``data``, or else of the first."""
    blob = net.blobs["data"] if "data" in net.blobs else next(iter(net.blobs.values()))
    return int(blob.data.shape[0])


def loss(net: Any) -> float:
    """The sum of all losses, each times its ``loss_weight``, as of the last forward."""
    return float(
        sum(
            weight * net.blobs[name].data.sum()
            for name, weight in net.blob_loss_weights.items()
            if weight
        )
    )


def scores_and_labels(net: Any) -> tuple[str, str]:
    """The blobs of the scores and labels that the net is judged by.

    They are the bottoms of its last SoftmaxWithLoss or InfogainLoss layer (nets with
    auxiliary losses have the real one last), or else of its first Accuracy layer. Raises
    :class:`ToolError` where there is none of these.
    """
    types = {name: layer.type for name, layer in zip(net._layer_names, net.layers)}
    judges = [name for name, kind in types.items() if kind in _JUDGES][-1:]
    judges += [name for name, kind in types.items() if kind == "Accuracy"]
    if not judges:
        raise ToolError(
            f"expected a layer of type {', '.join(_JUDGES)} or Accuracy to tell scores and labels "
            f"by, found none among {', '.join(layer_names(net))}; name the two blobs"
        )
    scores, labels = net.bottom_names[judges[0]][:2]
    return scores, labels


def copy_weights(source: Any, target: Any) -> list[str]:
    """Copy the weights of the layers that both nets have, by name; return these names.

    Raises :class:`ToolError` where a layer's shapes differ, before anything is copied, and
    where the nets have no learnable layer in common.
    """
    common = [name for name in target.params if name in source.params]
    if not common:
        raise ToolError(
            f"no layer with weights is in both nets: one has {', '.join(source.params)}, the "
            f"other {', '.join(target.params)}; layers are told by their names"
        )
    for name in common:
        found, expected = (
            [tuple(blob.data.shape) for blob in net.params[name]] for net in (source, target)
        )
        if found != expected:
            raise ToolError(
                f"layer {name!r}: expected weights of the shapes {expected}, found {found}; give "
                "the layer another name in one of the nets if it is to learn anew"
            )
    for name in common:
        for mine, theirs in zip(target.params[name], source.params[name]):
            mine.data[...] = theirs.data
    return common


def gradient_magnitudes(net: Any) -> dict[str, float]:
    """``sqrt(sum g^2)`` over all weights of each layer, with the gradients ``g`` in their diffs.

    They are there after ``net.backward()`` until the update. After ``solver.step`` the diffs
    hold the update instead, see :func:`update_magnitudes`.
    """
    return {name: _norm(blob.diff for blob in blobs) for name, blobs in net.params.items()}


def update_magnitudes(net: Any, relative: bool = False) -> dict[str, float]:
    """``sqrt(sum u^2)`` over all weights of each layer, ``u`` being what the last step subtracted.

    Caffe's solvers leave ``u`` in the weights' diffs. With ``relative`` it is divided by
    ``sqrt(sum w^2)`` of the layer's weights; values near 0.001 are usual.
    """
    magnitudes = gradient_magnitudes(net)
    if not relative:
        return magnitudes
    weights = weight_magnitudes(net)
    return {name: value / (weights[name] or 1.0) for name, value in magnitudes.items()}


def weight_magnitudes(net: Any) -> dict[str, float]:
    """``sqrt(sum w^2)`` over all weights ``w`` of each layer."""
    return {name: _norm(blob.data for blob in blobs) for name, blobs in net.params.items()}


def _norm(arrays: Iterable[np.ndarray]) -> float:
    return float(np.linalg.norm([_norm_of_one(array.ravel()) for array in arrays]))


def _norm_of_one(flat: np.ndarray) -> float:
    # Squares of what a float still holds may overflow; doubles take thirty times as long.
    with np.errstate(over="ignore"):
        norm = float(np.linalg.norm(flat))
    return norm if np.isfinite(norm) else float(np.linalg.norm(flat.astype(np.float64)))
