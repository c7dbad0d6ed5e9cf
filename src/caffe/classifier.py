"""caffe.Classifier: a net that classifies images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from caffe import io
from caffe.net import Net
from recaffe.proto.schema import TEST


class ImageNet(Net):
    """A net whose first input is images, and the transformer that makes them inputs.

    Args:
        model_file: the prototxt.
        pretrained_file: the weights.
        mean, input_scale, raw_scale, channel_swap: see :class:`caffe.io.Transformer`.
    """

    def __init__(
        self,
        model_file: str,
        pretrained_file: str,
        mean: np.ndarray | None = None,
        input_scale: float | None = None,
        raw_scale: float | None = None,
        channel_swap: Sequence[int] | None = None,
    ) -> None:
        super().__init__(model_file, TEST, weights=pretrained_file)
        name = self.inputs[0]
        self.transformer = io.Transformer({name: self.blobs[name].data.shape})
        self.transformer.set_transpose(name, (2, 0, 1))
        if mean is not None:
            self.transformer.set_mean(name, mean)
        if input_scale is not None:
            self.transformer.set_input_scale(name, input_scale)
        if raw_scale is not None:
            self.transformer.set_raw_scale(name, raw_scale)
        if channel_swap is not None:
            self.transformer.set_channel_swap(name, channel_swap)


def run_images(net: ImageNet, images: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
    """The net's first output for images of any number and size."""
    name = net.inputs[0]
    inputs = np.stack([net.transformer.preprocess(name, image) for image in images])
    return net.forward_all(**{name: inputs})[net.outputs[0]]


class Classifier(ImageNet):
    """A net that classifies images, each of them once or in ten crops.

    Args:
        model_file: the prototxt.
        pretrained_file: the weights.
        image_dims: the height and width that images get before they are cropped; those of the
            net's input if not given, so that nothing is cropped.
        mean, input_scale, raw_scale, channel_swap: see :class:`caffe.io.Transformer`.
    """

    def __init__(
        self,
        model_file: str,
        pretrained_file: str,
        image_dims: Sequence[int] | None = None,
        mean: np.ndarray | None = None,
        input_scale: float | None = None,
        raw_scale: float | None = None,
        channel_swap: Sequence[int] | None = None,
    ) -> None:
        super().__init__(model_file, pretrained_file, mean, input_scale, raw_scale, channel_swap)
        self.crop_dims = np.array(self.blobs[self.inputs[0]].data.shape[2:])
        given = image_dims is not None and len(image_dims) > 0
        self.image_dims: Any = image_dims if given else self.crop_dims

    def predict(self, inputs: Sequence[np.ndarray], oversample: bool = True) -> np.ndarray:
        """The probabilities ``(images, classes)`` of the classes.

        Args:
            inputs: images ``(height, width, channels)``.
            oversample: whether to average over :func:`caffe.io.oversample`'s ten crops; else
                the centre alone counts.
        """
        height, width = self.crop_dims
        if height > self.image_dims[0] or width > self.image_dims[1]:
            raise ValueError(
                f"no crops of {height} x {width}, the net's input, lie within images of "
                f"{self.image_dims[0]} x {self.image_dims[1]}"
            )
        images = np.stack([io.resize_image(image, self.image_dims) for image in inputs])
        if oversample:
            images = io.oversample(images, self.crop_dims)
        else:
            top, left = (np.array(self.image_dims) - self.crop_dims) // 2
            images = images[:, top : top + height, left : left + width]
        predictions = run_images(self, images)
        if oversample:
            return predictions.reshape(len(inputs), 10, -1).mean(1)
        return predictions
