"""Chosen images, as they are and as a net gets them.

They come from image files, or from places of an LMDB. What the net gets is made by Caffe's own
Data layer, of phase TEST, so that mean, scale, crop and the order of the channels are those of
training and evaluation.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

import cv2
import numpy as np
from google.protobuf.message import DecodeError

from caffe.proto import caffe_pb2
from caffetools import databases, prototxt
from caffetools.cli import ToolError
from caffetools.datums import datum_bytes, datum_image, read_datums
from caffetools.images import read_image
from caffetools.scoring import data_layer_on, load
from caffetools.spread import spread

AT_ONCE = 32  # images, so that many need little memory
_UNTOLD = -1


@dataclass(frozen=True)
class Chosen:
    """N images: what each is called, its pixels, its label (None if untold), its Datum.

    ``pictures`` are (h, w) gray or (h, w, 3) RGB, from 0 to 255.
    """

    names: list[str]
    pictures: list[np.ndarray]
    labels: list[Optional[int]]
    datums: list[bytes]


def from_lmdb(path: Path, indices: Optional[Sequence[int]], count: int) -> Chosen:
    """The entries at ``indices``, or ``count`` evenly spaced ones where that is None."""
    if indices is None:
        indices = spread(range(databases.lmdb_entries(path)), count)
    if not indices:
        raise ToolError(f"{path}: expected an LMDB with entries, found none to show")
    datums = read_datums(path, indices)
    return Chosen(
        [f"entry {index}" for index in indices],
        [datum_image(datum) for datum in datums],
        [datum.label for datum in datums],
        [datum.SerializeToString() for datum in datums],
    )


def from_files(paths: Sequence[Path], channels: int, height: int, width: int) -> Chosen:
    """Images of files, resized as convert_imageset does, in gray for one channel."""
    if channels not in (1, 3):
        raise ToolError(
            f"the net's images have {channels} channels, and a file's 1 or 3; give them as an LMDB"
        )
    images = [_read(path, channels == 1) for path in paths]
    images = [np.atleast_3d(cv2.resize(image, (width, height))) for image in images]
    return Chosen(
        [path.name for path in paths],
        [image[:, :, 0] if channels == 1 else image[:, :, ::-1] for image in images],
        [None] * len(paths),
        [datum_bytes(image, _UNTOLD) for image in images],
    )


def _read(path: Path, gray: bool) -> np.ndarray:
    image = read_image(path, gray)
    if image is None:
        raise ToolError(f"{path}: expected an image that can be read, found none")
    return image


# --- as the net gets them ---------------------------------------------------------------


def data_layer(net: Optional[Any]) -> Any:
    """A copy of the Data layer of ``net`` in phase TEST; without a net, one that changes nothing.

    Raises :class:`ToolError` unless the net has exactly one.
    """
    layer = caffe_pb2.LayerParameter(name="data", type="Data", top=["data", "label"])
    if net is not None:
        copy = prototxt.copy_net(net)
        layer.CopyFrom(data_layer_on(prototxt.phase_view(copy, prototxt.TEST), Path()))
        layer.transform_param.ClearField("mirror")
    return layer


def inputs(chosen: Chosen, layer: Any) -> Iterator[np.ndarray]:
    """The images as the Data layer gives them, (n, C, H, W), a few at a time."""
    if len({picture.shape for picture in chosen.pictures}) > 1:
        shapes = sorted({str(picture.shape) for picture in chosen.pictures})
        raise ToolError(f"expected images of one shape, found {', '.join(shapes)}")
    with tempfile.TemporaryDirectory() as folder:
        places = (b"%08d" % index for index in range(len(chosen.datums)))
        databases.write(Path(folder), zip(places, chosen.datums))
        reader = _reader(layer, Path(folder), min(AT_ONCE, len(chosen.datums)))
        left = len(chosen.datums)
        while left > 0:
            reader.forward()
            values = np.array(reader.blobs[layer.top[0]].data)[:left]
            left -= len(values)
            yield values


def _reader(layer: Any, lmdb: Path, batch: int) -> Any:
    net = caffe_pb2.NetParameter(name="reader")
    net.layer.add().CopyFrom(layer)
    reading = data_layer_on(net.layer, lmdb)
    reading.data_param.batch_size = batch
    return load(net)


def size_before(layer: Any, height: int, width: int) -> tuple[int, int]:
    """Height and width that images need so that the layer makes ``height`` by ``width`` of them.

    A layer that crops gets them as large as its mean file, or else as its crop.
    """
    param = layer.transform_param
    if not param.crop_size or not param.mean_file:
        return height, width
    mean = caffe_pb2.BlobProto()
    try:
        mean.ParseFromString(Path(param.mean_file).read_bytes())
    except DecodeError as error:
        raise ToolError(f"{param.mean_file}: expected a mean in a BlobProto ({error})") from error
    dims = [*mean.shape.dim] or [mean.num, mean.channels, mean.height, mean.width]
    return int(dims[-2]), int(dims[-1])


# --- command line -----------------------------------------------------------------------


def add_arguments(parser: argparse.ArgumentParser, count: int) -> None:
    """Let a command take a net, its weights, and images: files or entries of an LMDB."""
    add = parser.add_argument
    add("--net", type=Path, required=True, help="deploy.prototxt, or train_val.prototxt")
    add("--weights", type=Path, required=True, help="its .caffemodel")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--image", type=Path, nargs="+", help="image files, for a deploy.prototxt")
    source.add_argument("--lmdb", type=Path, help="an LMDB to take images from")
    add("--index", type=int, nargs="+", help="the LMDB's entries to take, counted from 0")
    add(
        "--count", type=int, default=count,
        help=f"how many to take, evenly spaced, without --index (default: {count})",
    )  # fmt: skip
    add(
        "--transform",
        type=Path,
        help="train_val.prototxt whose Data layer of phase TEST tells mean, scale and crop, for a "
        "deploy.prototxt (default: pixels stay as they are)",
    )
