"""Make weights that were learned from images in colour fit images of one channel.

An image of one channel is, in colour, three times the same channel x, to which the first
convolution answers with

    sum over c of w[c] * x = (sum over c of w[c]) * x

so its kernels are summed over their input channels, and the net answers to a gray image as it
did to the same image in colour. What was subtracted from the channels is not in the weights;
a gray net subtracts a mean of its own.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Optional

import numpy as np

from caffe.proto import caffe_pb2
from caffetools import weights
from caffetools.cli import ToolError, run
from caffetools.files import whole_file

LOG = logging.getLogger("caffetools.gray_weights")

COLOURS = 3


def sum_channels(net: Any, place: str) -> list[str]:
    """Sum the kernels of the convolutions that read the image; return these layers' names.

    ``net`` (a NetParameter with weights) is changed. Kernels of one channel stay, and
    their layers are not named. ``place`` is for errors.
    """
    changed = []
    for layer in _reading_the_image(net, place):
        kernels = weights.array(layer.blobs[0])
        channels, group = kernels.shape[1], layer.convolution_param.group
        if group > 1 or channels not in (1, COLOURS):
            raise ToolError(
                f"{place}: layer {layer.name!r} has kernels of {channels} channels in {group} "
                f"group(s); expected {COLOURS} channels to sum, or 1, in one group: give weights "
                "that were learned from images in colour"
            )
        if channels == COLOURS:
            _store(layer.blobs[0], kernels.sum(axis=1, keepdims=True, dtype=np.float64))
            changed.append(layer.name)
    return changed


def _reading_the_image(net: Any, place: str) -> list[Any]:
    layers = weights.layers_with_blobs(net, place)
    if not weights.is_convolution(layers[0]):
        raise ToolError(
            f"{place}: expected a convolution to be the first layer with weights, found "
            f"{layers[0].name!r}; only a convolution's weights can be summed over colours, so "
            "give images in colour (dataset.image.gray: false)"
        )
    # Caffe saves the Split layers that it puts behind a blob with several readers.
    split = {
        top: layer.bottom[0]
        for layer in [*net.layers, *net.layer]
        if layer.type in ("Split", caffe_pb2.V1LayerParameter.SPLIT)
        for top in layer.top
    }
    image = split.get(layers[0].bottom[0], layers[0].bottom[0])
    return [
        layer
        for layer in layers
        if weights.is_convolution(layer) and split.get(layer.bottom[0], layer.bottom[0]) == image
    ]


def _store(blob: Any, values: np.ndarray) -> None:
    blob.ClearField("double_data")
    blob.ClearField("diff")
    blob.ClearField("data")
    blob.data.extend(values.astype(np.float32).ravel().tolist())
    if blob.HasField("shape"):
        blob.shape.dim[1] = 1
    else:
        blob.channels = 1


def main(arguments: Sequence[str]) -> Optional[int]:
    """``python -m caffetools.gray_weights --weights COLOUR --output GRAY``."""
    parser = argparse.ArgumentParser(
        prog="python -m caffetools.gray_weights",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--weights", type=Path, required=True, help="the .caffemodel to read")
    parser.add_argument("--output", type=Path, required=True, help="the .caffemodel to write")
    options = parser.parse_args(arguments)
    net = weights.read_message(options.weights)
    changed = sum_channels(net, str(options.weights))
    with whole_file(options.output) as partial:
        partial.write_bytes(net.SerializeToString())
    LOG.info("%s: summed over colours: %s", options.output, ", ".join(changed) or "none")
    return None


if __name__ == "__main__":
    run(main)
