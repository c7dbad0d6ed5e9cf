"""Weights of a net: copied from a file, shared with another net, saved.

Source: ``CopyTrainedLayersFrom``, ``ShareTrainedLayersWith`` and ``ToProto`` in ``net.cpp``.
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from recaffe.errors import ShapeMismatchError
from recaffe.net.net import Net
from recaffe.proto import hdf5
from recaffe.proto.arrays import legacy_shape_equal
from recaffe.proto.weights import LayerWeights, read_weights, write_weights

logger = logging.getLogger(__name__)


def load_weights(net: Net, path: str | Path) -> None:
    """Copy the weights of a ``.caffemodel``, HDF5 or not, into the layers of the same names.

    Layers that only one side has are left alone, and logged.

    Raises:
        FormatError: the file is absent, cut short, or no caffemodel.
        ShapeMismatchError: a layer of the same name with other blobs; nothing is copied then.
    """
    source = _read_hdf5(net, path) if hdf5.is_hdf5(path) else read_weights(path)
    weights = [layer for layer in source if layer.name in net.layer_names]
    for layer in weights:
        _check_fit(net, layer, str(path))
    for layer in weights:
        for array, blob in zip(layer.blobs, _blobs(net, layer.name), strict=True):
            blob.data[...] = array.reshape(blob.shape)
    loaded = {layer.name for layer in weights}
    fresh = [name for name in net.params if name not in loaded]
    if fresh:
        logger.info("%s: no weights for %s: left as they are", path, ", ".join(fresh))


def _read_hdf5(net: Net, path: str | Path) -> list[LayerWeights]:
    """Its layers; where it leaves a shared blob to the owner, the net's own stands for it."""
    owned = set(net.param_places)
    layers = []
    for layer in hdf5.read_weights(path):
        blobs = dict(layer.blobs)
        for index, blob in enumerate(net.params.get(layer.name, [])):
            if (layer.name, index) not in owned:
                blobs.setdefault(index, blob.data)
        if sorted(blobs) != list(range(len(blobs))):
            raise ShapeMismatchError(
                f"{path}: layer '{layer.name}' holds the blobs {sorted(layer.blobs)}, and "
                "the net's layer of that name shares no other"
            )
        layers.append(LayerWeights(layer.name, "", [blobs[index] for index in sorted(blobs)]))
    return layers


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
    """Write the layers of ``net`` and their weights; as HDF5 if ``path`` ends in ``.h5``."""
    if Path(path).suffix == ".h5":
        hdf5.write_weights(path, _sparse_blobs(net, with_diff))
        return
    write_weights(
        path,
        net.name,
        (
            (layer.param, [(blob.data, blob.diff if with_diff else None) for blob in layer.blobs])
            for layer in net.layers
        ),
    )


def _sparse_blobs(
    net: Net, with_diff: bool
) -> list[tuple[str, list[tuple[np.ndarray | None, np.ndarray | None]]]]:
    owned = set(net.param_places)
    return [
        (
            layer.name,
            [
                (
                    blob.data if (layer.name, index) in owned else None,
                    blob.diff if with_diff else None,
                )
                for index, blob in enumerate(layer.blobs)
            ],
        )
        for layer in net.layers
    ]
