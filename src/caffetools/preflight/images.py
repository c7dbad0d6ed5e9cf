"""Whether the images fit the crop, the mean, and the channels that the net reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Optional

import numpy as np

from caffetools.cli import ToolError
from caffetools.mean import read_mean
from caffetools.preflight.finding import ERROR, NOTE, WARNING, Finding
from caffetools.preflight.records import Records
from caffetools.weights import is_convolution

_CLEARLY = 15.0  # gray values; by so much reversed means must fit better to be suspected


def images(records: Records, layer: Any) -> Iterator[Finding]:
    """Sizes against crop and batch, channels against means."""
    shapes = sorted({image.shape for image in records.images})
    yield from _sizes(records, layer, shapes)
    if len({shape[0] for shape in shapes}) > 1:
        yield Finding(
            ERROR, "geometry", str(records.place),
            "some images have one channel, others three; Caffe takes all alike",
            "convert them again, with --gray or without",
        )  # fmt: skip
        return
    yield from _mean_file(records, layer, shapes)
    yield from _mean_values(records, layer)
    if shapes[0][0] == 3 and all(_is_gray(image) for image in records.images):
        yield Finding(
            NOTE, "channels", str(records.place),
            f"all {len(records.images)} images looked at are gray, stored in three channels",
        )  # fmt: skip


def _sizes(records: Records, layer: Any, shapes: list[tuple[int, ...]]) -> Iterator[Finding]:
    crop = layer.transform_param.crop_size
    for _, height, width in shapes:
        if crop > min(height, width):
            yield Finding(
                ERROR, "geometry", f"layer {layer.name!r}",
                f"crop_size is {crop}, and there are images of {height}x{width} (height x width) "
                f"in {records.place}",
                "lower crop_size, or convert larger images",
            )  # fmt: skip
            return
    if len(shapes) > 1 and not crop and layer.data_param.batch_size > 1:
        told = ", ".join(f"{height}x{width}" for _, height, width in shapes[:4])
        yield Finding(
            ERROR, "geometry", str(records.place),
            f"images of different sizes ({told}), no crop_size, and batches of "
            f"{layer.data_param.batch_size}: Caffe stacks images of one size",
            "convert them to one size, or set crop_size",
        )  # fmt: skip


def _mean_file(records: Records, layer: Any, shapes: list[tuple[int, ...]]) -> Iterator[Finding]:
    transform = layer.transform_param
    if not transform.mean_file:
        return
    place = f"layer {layer.name!r}"
    if transform.mean_value:
        yield Finding(ERROR, "mean", place, "it has mean_file and mean_value; Caffe takes one",
                      "remove one of them")  # fmt: skip
    path = Path(transform.mean_file)
    if not path.is_file():
        yield Finding(ERROR, "mean", place, f"no mean file {str(path)!r}",
                      "make it with caffetools.mean, or correct mean_file")  # fmt: skip
        return
    try:
        shape = read_mean(path).shape
    except ToolError as error:
        yield Finding(ERROR, "mean", str(path), f"expected a BlobProto, found none ({error})",
                      "make it with caffetools.mean")  # fmt: skip
        return
    wrong = [each for each in shapes if each != shape]
    if wrong:
        crop = transform.crop_size
        cropped = crop and shape[1:] == (crop, crop)
        yield Finding(
            ERROR, "mean", str(path),
            f"its mean is {'x'.join(map(str, shape))} (channels, height, width), and there are "
            f"images of {'x'.join(map(str, wrong[0]))}"
            + ("; a mean is that of whole images, which Caffe crops with them" if cropped else ""),
            "compute the mean of these images with caffetools.mean",
        )  # fmt: skip


def _mean_values(records: Records, layer: Any) -> Iterator[Finding]:
    values = np.array(layer.transform_param.mean_value)
    channels = records.images[0].shape[0]
    place = f"layer {layer.name!r}"
    if len(values) not in (0, 1, channels):
        yield Finding(
            ERROR, "mean", place,
            f"{len(values)} mean_values for images of {channels} channels",
            "give one, or one a channel",
        )  # fmt: skip
        return
    own = np.mean([image.reshape(channels, -1).mean(axis=1) for image in records.images], axis=0)
    if len(values) and values.max() <= 1.5 and own.max() > 10:
        yield Finding(
            WARNING, "mean", place,
            f"mean_value {_told(values)} looks like that of images from 0 to 1; these go to 255, "
            f"on average {_told(own)}, and the mean is taken before `scale`",
            "multiply the values by 255",
        )  # fmt: skip
    elif len(values) == 3:
        here, reversed_ = np.abs(own - values).sum(), np.abs(own - values[::-1]).sum()
        if reversed_ + _CLEARLY < here and values[0] > values[2]:
            yield Finding(
                WARNING, "channels", place,
                f"mean_value {_told(values)} fits these images' own means {_told(own)} better the "
                "other way round; convert_imageset stores blue, green, red",
                "give the mean values in the order of the stored channels",
            )  # fmt: skip


def _told(values: np.ndarray) -> str:
    return "[" + ", ".join(f"{value:.4g}" for value in values) + "]"


def _is_gray(image: np.ndarray) -> bool:
    return bool((image == image[:1]).all())


def colours(records: Records, weights: Optional[Mapping[str, Any]], net: Any) -> Iterator[Finding]:
    """Images of one channel into kernels for three, or the other way round."""
    first = next((layer for layer in net.layer if is_convolution(layer)), None)
    if weights is None or first is None or first.name not in weights:
        return
    kernels = weights[first.name][0].shape
    if len(kernels) != 4:
        return
    found = records.images[0].shape[0]
    expected = kernels[1] * first.convolution_param.group
    if {found, expected} == {1, 3}:
        gray = found == 1
        yield Finding(
            ERROR, "channels", f"layer {first.name!r}",
            f"the weights have kernels of {expected} {'channels' if gray else 'channel'}, and the "
            f"images have {found}",
            "make the weights fit with caffetools.gray_weights" if gray
            else "convert the images with --gray, or start from weights for colour",
        )  # fmt: skip
