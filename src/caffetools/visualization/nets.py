"""A net from images to scores, made of a deploy or train_val net and ready to be looked into."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

import numpy as np

from caffetools import prototxt
from caffetools.classes import class_names
from caffetools.cli import ToolError
from caffetools.datums import pixels_of
from caffetools.deploy import to_deploy
from caffetools.scoring import load
from caffetools.visualization import images
from caffetools.visualization.images import Chosen

# In phase TEST these leave the values as they are; their bottom's shape may become another.
_SAME_VALUES = ("Dropout", "Flatten", "Reshape", "Split")


@dataclass(frozen=True)
class Answering:
    """A net with one input, for images, and one output.

    Attributes:
        net: the ``caffe.Net``.
        message: its NetParameter.
        images: the input blob, (N, C, H, W).
        scores: the blob of the class scores: what the Softmax at the end reads, or the output.
        output: the output blob.
    """

    net: Any
    message: Any
    images: str
    scores: str
    output: str

    @property
    def shape(self) -> tuple[int, ...]:
        """(C, H, W) of an image as the net gets it."""
        return tuple(self.net.blobs[self.images].data.shape[1:])

    @property
    def classes(self) -> int:
        """How many scores an image has."""
        return int(self.net.blobs[self.scores].data[0].size)

    def forward(self, values: np.ndarray) -> None:
        """Run the net on ``values`` (n, C, H, W); its blobs then hold what it made of them.

        Raises :class:`ToolError` where an image's shape is not the net's.
        """
        if values.shape[1:] != self.shape:
            raise ToolError(
                f"blob {self.images!r}: expected images of (channels, height, width) {self.shape}, "
                f"found {values.shape[1:]}; give the net, and its --transform, that they are for"
            )
        blob = self.net.blobs[self.images]
        if blob.data.shape != values.shape:
            blob.reshape(*values.shape)
            self.net.reshape()
        blob.data[...] = values
        self.net.forward()

    def rows(self, blob: str) -> np.ndarray:
        """(n, values) of a blob after :meth:`forward`, a row an image."""
        found = np.array(self.net.blobs[blob].data)
        return found.reshape(len(found), -1)


def answering(message: Any, weights: Path, output: Optional[str] = None) -> Answering:
    """The net of a deploy NetParameter, with its weights.

    A Softmax at its end that works in place, and so overwrites the scores, gets a top of its own.
    Raises :class:`ToolError` unless it has one input with four axes and, where none is named as
    ``output``, one output.
    """
    net = load(message, weights)
    inputs, outputs = list(net.inputs), [output] if output else list(net.outputs)
    axes = [net.blobs[name].data.ndim for name in inputs]
    if axes != [4] or len(outputs) != 1:
        raise ToolError(
            "expected a net with one input (N, C, H, W) and one output, such as a deploy.prototxt; "
            f"found the inputs {', '.join(inputs) or 'none'} and the outputs "
            f"{', '.join(outputs) or 'none'}"
        )
    output = outputs[0]
    softmax = _softmax_at_the_end(message, output)
    if softmax is None:
        return Answering(net, message, inputs[0], output, output)
    scores = softmax.bottom[0]
    if scores in softmax.top:
        message, probabilities = _scores_kept(message, softmax)
        return answering(message, weights, probabilities if output == scores else output)
    return Answering(net, message, inputs[0], scores, output)


def _softmax_at_the_end(message: Any, output: str) -> Optional[Any]:
    """The Softmax whose probabilities the blob ``output`` is, None where it is none's."""
    layers = prototxt.phase_view(message, prototxt.TEST)
    for layer in reversed(layers):
        if output in layer.top:
            if layer.type not in _SAME_VALUES:
                return layer if layer.type == "Softmax" else None
            output = layer.bottom[0]
    return None


def _scores_kept(message: Any, softmax: Any) -> tuple[Any, str]:
    """A copy of a net whose Softmax works in place, with a top of its own; and that top's name.

    Layers after it read and write the new blob as they did that of the scores.
    """
    scores = softmax.bottom[0]
    name = f"{scores}_softmax"
    while name in prototxt.blob_names(message):
        name += "_"
    copy = prototxt.copy_net(message)
    place = list(message.layer).index(softmax)
    copy.layer[place].top[0] = name
    for layer in copy.layer[place + 1 :]:
        for blobs in (layer.bottom, layer.top):
            blobs[:] = [name if blob == scores else blob for blob in blobs]
    return copy, name


def up_to_scores(net: Answering, weights: Path, force_backward: bool = False) -> Answering:
    """The same net without the Softmax, so that the scores are its output.

    With ``force_backward`` gradients reach its input.
    """
    message = prototxt.copy_net(net.message)
    if net.scores != net.output:
        softmax = _softmax_at_the_end(message, net.output)
        layers = list(message.layer)
        place = layers.index(softmax)
        for layer in [layers[place], *prototxt.downstream(layers, place)]:
            message.layer.remove(layer)
    message.force_backward = force_backward
    return answering(message, weights)


def is_data_net(message: Any) -> bool:
    """Whether the net reads its images itself in phase TEST, as a train_val net does."""
    return any(layer.type == "Data" for layer in prototxt.phase_view(message, prototxt.TEST))


class Subject:
    """What a command was told to look into: a net, and images for it.

    Args:
        options: as :func:`images.add_arguments` has them.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        files = [options.net, options.weights, options.transform, *(options.image or [])]
        for path in filter(None, files):
            if not path.is_file():
                raise ToolError(f"{path}: no such file; make it first")
        self.weights = options.weights
        message = prototxt.read_net(options.net)
        transforming = message if is_data_net(message) else None
        if options.transform:
            transforming = prototxt.read_net(options.transform)
        self._layer = images.data_layer(transforming)
        if is_data_net(message):
            self.chosen = self._from_lmdb(options)
            shape = pixels_of(self.chosen.datums[0]).shape
            self.net = answering(to_deploy(message, shape), options.weights)
        else:
            self.net = answering(message, options.weights)
            self.chosen = self._chosen(options)

    def _chosen(self, options: argparse.Namespace) -> Chosen:
        if options.lmdb:
            return self._from_lmdb(options)
        channels, height, width = self.net.shape
        size = images.size_before(self._layer, height, width)
        return images.from_files(options.image, channels, *size)

    def _from_lmdb(self, options: argparse.Namespace) -> Chosen:
        if not options.lmdb:
            raise ToolError(
                f"{options.net}: its images come from an LMDB, found image files; give its "
                f"deploy.prototxt as --net, and {options.net} as --transform"
            )
        if options.count < 1:
            raise ToolError(f"--count: expected at least one image, found {options.count}")
        return images.from_lmdb(options.lmdb, options.index, options.count)

    def class_names(self, path: Optional[Path]) -> list[str]:
        """A name for each of the net's scores, of a ``classes.txt`` or their numbers.

        Raises :class:`ToolError` where an image has a label that is none of them.
        """
        names = class_names(path, self.net.classes)
        for name, label in zip(self.chosen.names, self.chosen.labels):
            if label is not None and not 0 <= label < len(names):
                raise ToolError(
                    f"{name} has label {label}, expected 0 to {len(names) - 1}: the net has "
                    f"{len(names)} outputs; give the net that learned from these images"
                )
        return names

    def inputs(self) -> Iterator[np.ndarray]:
        """The images as the net gets them, (n, C, H, W), a few at a time."""
        return images.inputs(self.chosen, self._layer)

    def all_inputs(self) -> np.ndarray:
        """The same at once, (N, C, H, W)."""
        return np.concatenate(list(self.inputs()))
