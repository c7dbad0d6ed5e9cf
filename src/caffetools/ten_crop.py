"""Scores an LMDB's images by ten crops each: the corners and the middle, and all five mirrored.

The class probabilities of an image are the means of its crops' probabilities.

Source: Krizhevsky, Sutskever and Hinton, *ImageNet Classification with Deep Convolutional Neural
Networks*, 2012; the crops are those of ``caffe.io.oversample``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from caffetools import prototxt
from caffetools.cli import ToolError
from caffetools.deploy import OUTPUT, to_deploy
from caffetools.scoring import Outcome, data_layer_on, load

# After scoring, which quiets the log of BVLC's build before that is imported.
from caffe.proto import caffe_pb2  # isort: skip


def forward(net: Any, lmdb: Path, weights: Path, entries: int) -> Outcome:
    """Run ten crops of each of the first ``entries`` entries through the net with ``weights``.

    ``net`` is the NetParameter of a ``train_val.prototxt``; the crops are as large as the
    ``crop_size`` of its Data layer in phase TEST. Raises :class:`ToolError` where it has none.
    """
    whole, crop = _whole_images(net, lmdb)
    reader = load(whole)
    images = reader.blobs[whole.layer[0].top[0]]
    answering = load(to_deploy(net, images.data.shape[1:]), weights)
    probabilities, labels, done = [], [], 0
    while done < entries:
        reader.forward()
        probabilities.append(_mean_over_crops(answering, images.data, crop))
        labels.append(np.array(reader.blobs[whole.layer[0].top[1]].data).reshape(-1))
        done += len(labels[-1])
    scores = np.concatenate(probabilities)[:entries]
    return Outcome.of_probabilities(scores, np.concatenate(labels)[:entries])


def _whole_images(net: Any, lmdb: Path) -> tuple[Any, int]:
    """A net of the TEST phase's Data layer alone, uncropped, and what it cropped to.

    Mean and scale are taken pixel by pixel, so that they may come before the crop.
    """
    layer = caffe_pb2.LayerParameter()
    layer.CopyFrom(data_layer_on(prototxt.phase_view(net, prototxt.TEST), lmdb))
    crop = layer.transform_param.crop_size
    if not crop:
        raise ToolError(
            f"layer {layer.name!r}: ten crops need a crop_size in phase TEST, found none; set "
            "crop_size, or score by one crop"
        )
    layer.transform_param.ClearField("crop_size")
    layer.transform_param.ClearField("mirror")
    return caffe_pb2.NetParameter(name=net.name, layer=[layer]), crop


def _mean_over_crops(net: Any, images: np.ndarray, crop: int) -> np.ndarray:
    """(B, classes) for (B, channels, height, width), a crop of all images at a time."""
    name = net.inputs[0]
    net.blobs[name].reshape(len(images), images.shape[1], crop, crop)
    net.reshape()
    total = 0.0
    for view in _crops(images, crop):
        net.blobs[name].data[...] = view
        total = total + net.forward()[OUTPUT].reshape(len(images), -1).astype(np.float64)
    return np.asarray(total / 10)


def _crops(images: np.ndarray, crop: int) -> Iterator[np.ndarray]:
    down, right = images.shape[2] - crop, images.shape[3] - crop
    if down < 0 or right < 0:
        raise ToolError(
            f"images of {images.shape[2]}x{images.shape[3]} (height x width) have no crop of "
            f"{crop}x{crop}; lower crop_size, or convert larger images"
        )
    corners = [(y, x) for y in (0, down) for x in (0, right)]
    for y, x in [*corners, (down // 2, right // 2)]:
        view = images[:, :, y : y + crop, x : x + crop]
        yield view
        yield view[:, :, :, ::-1]
