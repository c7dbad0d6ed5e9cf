"""Reads the weights in a ``.caffemodel`` without a net."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    return {layer.name: [array(blob) for blob in layer.blobs] for layer in _layers(path)}


def layer_names(path: Path) -> list[str]:
    """The layers that have blobs, in the order of the file, which may be a large one.

    Raises :class:`ToolError` where the file is truncated or not a caffemodel.
    """
    return [layer.name for layer in _layers(path)]


def read_message(path: Path) -> Any:
    """The NetParameter in a ``.caffemodel``; :class:`ToolError` where it is truncated."""
    net = caffe_pb2.NetParameter()
    try:
        net.ParseFromString(path.read_bytes())
    except DecodeError as error:
        raise ToolError(
            f"{path}: expected a .caffemodel (binary NetParameter), found {path.stat().st_size} "
            f"bytes that do not parse ({error}); is it cut off? Fetch or train it again"
        ) from error
    return net


def layers_with_blobs(net: Any, place: str) -> list[Any]:
    """The layers of a NetParameter that have blobs, of which there must be one."""
    # The older format of Caffe keeps its layers in the field "layers".
    layers = [layer for layer in [*net.layers, *net.layer] if layer.blobs]
    if not layers:
        raise ToolError(
            f"{place}: expected a .caffemodel with weights, found no layer that has any; is this "
            "another kind of file?"
        )
    return layers


def is_convolution(layer: Any) -> bool:
    """Whether the layer, of this format or the older one, is a Convolution."""
    return layer.type in ("Convolution", caffe_pb2.V1LayerParameter.CONVOLUTION)


def is_inner_product(layer: Any) -> bool:
    """Whether the layer, of this format or the older one, is an InnerProduct."""
    return layer.type in ("InnerProduct", caffe_pb2.V1LayerParameter.INNER_PRODUCT)


def require_same_colours(path: Path, params: Mapping[str, Any]) -> None:
    """Raise ToolError where the file is for images in colour and a net's ``params`` for gray ones.

    Or the other way round; Caffe speaks of shapes then, and BVLC's build ends the process.
    """
    first = _layers(path)[0]
    if not is_convolution(first) or first.name not in params:
        return
    channels = array(first.blobs[0]).shape[1]
    expected = params[first.name][0].data.shape[1]
    if (channels, expected) == (1, 3):
        raise ToolError(
            f"{path}: layer {first.name!r} learned from images of one channel, and the net's have "
            "3; kernels for gray tell nothing of what to look for in each colour. Give the net "
            "gray images (dataset.image.gray: true), or start from weights for colour"
        )
    if (channels, expected) == (3, 1):
        raise ToolError(
            f"{path}: layer {first.name!r} learned from images in colour, and the net's have one "
            "channel; make weights for gray images first, with caffetools.gray_weights"
        )


def _layers(path: Path) -> list[Any]:
    return layers_with_blobs(read_message(path), str(path))


def same_shape(one: Sequence[int], other: Sequence[int]) -> bool:
    """Whether two blobs have one shape, but that files of Caffe's older format write four axes."""
    if tuple(one) == tuple(other):
        return True
    told = [[size for size in shape if size != 1] for shape in (one, other)]
    return 4 in (len(one), len(other)) and told[0] == told[1]


def array(blob: Any) -> np.ndarray:
    """The values of a BlobProto, in their shape."""
    values = np.array(blob.double_data if blob.double_data else blob.data)
    # Before blobs had any number of axes their shape stood in four fields.
    old = (blob.num, blob.channels, blob.height, blob.width)
    return values.reshape(tuple(blob.shape.dim) if blob.HasField("shape") else old)
