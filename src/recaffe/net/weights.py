"""Weights of a net: copied from a file, shared with another net, saved.

Source: ``CopyTrainedLayersFrom``, ``ShareTrainedLayersWith`` and ``ToProto`` in ``net.cpp``.
"""

from __future__ import annotations

import logging
from pathlib import Path

from recaffe.errors import ShapeMismatchError
from recaffe.net.net import Net
from recaffe.proto.arrays import legacy_shape_equal
from recaffe.proto.weights import LayerWeights, read_weights, write_weights

logger = logging.getLogger(__name__)


def load_weights(net: Net, path: str | Path) -> None:
    """Copy the weights of a ``.caffemodel`` into the layers of the same names.

    Layers that only one side has are left alone, and logged.

    Raises:
        FormatError: the file is absent, cut short, or no caffemodel.
        ShapeMismatchError: a layer of the same name with other blobs; nothing is copied then.
    """
    weights = [layer for layer in read_weights(path) if layer.name in net.layer_names]
    for layer in weights:
        _check_fit(net, layer, str(path))
    for layer in weights:
        for array, blob in zip(layer.blobs, _blobs(net, layer.name), strict=True):
            blob.data[...] = array.reshape(blob.shape)
    loaded = {layer.name for layer in weights}
    fresh = [name for name in net.params if name not in loaded]
    if fresh:
        logger.info("%s: no weights for %s: left as they are", path, ", ".join(fresh))


def _blobs(net: Net, layer_name: str) -> list:
    return net.layers[net.layer_names.index(layer_name)].blobs


def _check_fit(net: Net, source: LayerWeights, path: str) -> None:
    target = _blobs(net, source.name)
    if len(source.blobs) != len(target):
        raise ShapeMismatchError(
            f"{path}: layer '{source.name}' holds {len(source.blobs)} blob(s), the net's "
            f"layer of that name has {len(target)}; rename the net's layer to learn it afresh"
        )
    for index, (array, blob) in enumerate(zip(source.blobs, target, strict=True)):
        if not legacy_shape_equal(array.shape, blob.shape):
            raise ShapeMismatchError(
                f"{path}: layer '{source.name}', blob {index}: the file holds the shape "
                f"{list(array.shape)}, the net's layer has {list(blob.shape)}; rename the "
                "net's layer to learn it afresh, or give it the file's num_output and kernel"
            )


def share_weights(net: Net, other: Net) -> None:
    """Let the parameters of ``net`` be those of ``other``'s layers of the same names.

    Both nets then have one array of values, but each has gradients of its own.

    Raises:
        ShapeMismatchError: a layer of the same name with other blobs.
    """
    for layer in net.layers:
        theirs = other.params.get(layer.name)
        if theirs is None:
            continue
        shapes, their_shapes = ([list(blob.shape) for blob in b] for b in (layer.blobs, theirs))
        if shapes != their_shapes:
            raise ShapeMismatchError(
                f"layer '{layer.name}': its parameters have the shapes {shapes}, those of the "
                f"net to share with {their_shapes}"
            )
        for blob, their_blob in zip(layer.blobs, theirs, strict=True):
            blob.share_data(their_blob)


def save_weights(net: Net, path: str | Path, with_diff: bool = False) -> None:
    """Write the layers of ``net`` and their weights as a ``.caffemodel``."""
    write_weights(
        path,
        net.name,
        (
            (layer.param, [(blob.data, blob.diff if with_diff else None) for blob in layer.blobs])
            for layer in net.layers
        ),
    )
