"""A net's weights as pictures, by the calls that pycaffe's users know.

Each takes a ``caffe.Net``, of either build, and gives an array with values from 0 to 1, of which
``matplotlib.pyplot.imshow(picture, cmap="gray")`` makes a picture and ``255 * picture`` a file by
``cv2.imwrite``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from caffetools.cli import ToolError
from caffetools.suggest import did_you_mean
from caffetools.visualization.tiles import enlarged, stretched, tiled


def get_layers(net: Any) -> list[str]:
    """The names of the layers that have weights, in forward order."""
    return list(net.params)


def visualize_kernels(net: Any, layer: str, zoom: int = 5) -> np.ndarray:
    """The kernels of a convolution, a row of tiles a kernel and a column a channel.

    Each tile is stretched by itself, so that its least weight is 0 and its greatest 1; a tile
    whose weights are all the same is 0.5.

    Args:
        layer: the name of a layer whose weights are (kernels, channels, height, width).
        zoom: pixels, in width and height, for each weight.

    Returns:
        (kernels * zoom * height, channels * zoom * width).

    Raises :class:`ToolError` where there is no such layer, or its weights have other axes.
    """
    weights = _weights(net, layer, 4, "kernels (kernels, channels, height, width)", zoom)
    kernels, channels, height, width = weights.shape
    tiles = stretched(weights.reshape(kernels * channels, height, width), each=True)
    return enlarged(tiled(tiles, columns=channels, gap=0), zoom)


def visualize_weights(net: Any, layer: str, zoom: int = 2) -> np.ndarray:
    """The weights of a fully connected layer, a row an output and a column an input.

    They are stretched together: the least weight is 0, the greatest 1. Where all are the same
    they are 0.5.

    Args:
        layer: the name of a layer whose weights are (outputs, inputs).
        zoom: pixels, in width and height, for each weight.

    Returns:
        (outputs * zoom, inputs * zoom).

    Raises :class:`ToolError` where there is no such layer, or its weights have other axes.
    """
    weights = _weights(net, layer, 2, "weights (outputs, inputs)", zoom)
    return enlarged(stretched(weights), zoom)


def _weights(net: Any, layer: str, axes: int, expected: str, zoom: int) -> np.ndarray:
    if layer not in net.params:
        known = get_layers(net)
        raise ToolError(
            f"the net has no layer {layer!r} with weights{did_you_mean(layer, known)} "
            f"It has {', '.join(known) or 'none'}"
        )
    weights = net.params[layer][0].data
    if weights.ndim != axes:
        other = {2: "visualize_kernels", 4: "visualize_weights"}[axes]
        raise ToolError(
            f"layer {layer!r}: expected {expected}, found the shape {tuple(weights.shape)}; "
            f"{other} is for other layers"
        )
    if zoom < 1 or int(zoom) != zoom:
        raise ToolError(f"zoom: expected a whole number of at least 1, found {zoom!r}")
    return weights
