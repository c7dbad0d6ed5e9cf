"""Reads the weights in a ``.caffemodel`` without a net."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from caffe.proto import caffe_pb2
from caffetools.cli import ToolError


def read_weights(path: Path) -> dict[str, list[np.ndarray]]:
    """The blobs of every layer that has any, by layer name, in the order of the file.

    Raises :class:`ToolError` where the file is truncated or not a caffemodel.
    """
    return {layer.name: [_array(blob) for blob in layer.blobs] for layer in _layers(path)}


def layer_names(path: Path) -> list[str]:
    """The layers that have blobs, in the order of the file, which may be a large one.

    Raises :class:`ToolError` where the file is truncated or not a caffemodel.
    """
    return [layer.name for layer in _layers(path)]


def _layers(path: Path) -> list[Any]:
    net = caffe_pb2.NetParameter()
    try:
        net.ParseFromString(path.read_bytes())
    except DecodeError as error:
        raise ToolError(
            f"{path}: expected a .caffemodel (binary NetParameter), found {path.stat().st_size} "
            f"bytes that do not parse ({error}); is it cut off? Fetch or train it again"
        ) from error
    # The older format of Caffe keeps its layers in the field "layers".
    layers = [layer for layer in [*net.layers, *net.layer] if layer.blobs]
    if not layers:
        raise ToolError(
            f"{path}: expected a .caffemodel with weights, found no layer that has any; is this "
            "another kind of file?"
        )
    return layers


def _array(blob: Any) -> np.ndarray:
    values = np.array(blob.double_data if blob.double_data else blob.data)
    # Before blobs had any number of axes their shape stood in four fields.
    old = (blob.num, blob.channels, blob.height, blob.width)
    return values.reshape(tuple(blob.shape.dim) if blob.HasField("shape") else old)
