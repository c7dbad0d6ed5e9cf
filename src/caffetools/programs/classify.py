"""``classify``: the classes of an image, of a folder of images, or of an array of them.

The scores go to an ``.npy`` file, ``(images, classes)`` in float32; with names for the classes,
each image's best ones are printed as well. Images are float RGB in [0, 1], or gray for a net of
one channel, as ``caffe.io.load_image`` gives them; ``raw_scale``, ``mean_file`` and
``channel_swap`` tell what the net is to get.

Source: ``python/classify.py``, whose flags these are. What differs: there the model and the mean
are by default files of the source tree's; here the model must be named and no mean is subtracted
unless it is. ``labels_file`` and ``top`` are this program's own.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Optional

import numpy as np
from google.protobuf.message import DecodeError

import caffe
from caffe.proto import caffe_pb2
from caffetools.classes import read_names
from caffetools.classifying import best, predict
from caffetools.cli import ToolError
from caffetools.files import whole_file
from caffetools.programs.program import LOG, Parser, number, require_file, run


def parser() -> Parser:
    """What the program takes."""
    parser = Parser("classify", "Classify images; write the scores as an .npy file.")
    parser.add_argument("input_file", type=Path, help="an image, a folder, or images as .npy")
    parser.add_argument("output_file", type=Path, help="the .npy to write")
    parser.flag("model_def", "the deploy prototxt", type=Path, required=True)
    parser.flag("pretrained_model", "the caffemodel", type=Path, required=True)
    parser.switch("gpu", "run on the GPU")
    parser.switch("center_only", "the centre alone, not the mean over ten crops")
    parser.flag("images_dim", "'height,width' of the images before the crop", default="256,256")
    parser.flag("mean_file", "the mean: .npy or .binaryproto", default="")
    parser.flag("input_scale", "what inputs are multiplied by after all else", type=float)
    parser.flag("raw_scale", "what images are multiplied by first", type=float, default=255.0)
    parser.flag("channel_swap", "the order of the channels, BGR by default", default="2,1,0")
    parser.flag("ext", "the ending of a folder's images", default="jpg")
    parser.flag(
        "labels_file", "names of the classes, a line each, to print the best ones", type=Path
    )
    parser.flag("top", "how many of the best ones to print", type=number(1), default=5)
    return parser


def main() -> None:
    """The program ``classify [FLAGS] INPUT_FILE OUTPUT_FILE``."""
    run(parser(), classify)


def classify(options: argparse.Namespace) -> None:
    """Write the scores."""
    labels = _labels(options.labels_file)
    net = _classifier(options)
    names, images = _images(options, gray=net.blobs[net.inputs[0]].data.shape[1] == 1)
    LOG.info("Classifying %d inputs.", len(names))
    start = time.monotonic()
    scores = _scores(net, images, options)
    LOG.info("Done in %.2f s.", time.monotonic() - start)
    if labels is not None and len(labels) != scores.shape[1]:
        raise ToolError(
            f"{options.labels_file}: expected a line for each of the {scores.shape[1]} classes, "
            f"found {len(labels)}"
        )
    LOG.info("Saving results into %s", options.output_file)
    with whole_file(options.output_file) as partial, partial.open("wb") as stream:
        np.save(stream, scores, allow_pickle=False)
    if labels is not None:
        _print(names, scores, labels, options.top)


def _classifier(options: argparse.Namespace) -> caffe.Classifier:
    require_file(options.model_def, "prototxt")
    require_file(options.pretrained_model, "caffemodel")
    if options.gpu:
        caffe.set_mode_gpu()
    else:
        caffe.set_mode_cpu()
    try:
        return caffe.Classifier(
            str(options.model_def),
            str(options.pretrained_model),
            image_dims=_numbers("images_dim", options.images_dim),
            mean=_mean(options.mean_file),
            input_scale=options.input_scale,
            raw_scale=options.raw_scale,
            channel_swap=_numbers("channel_swap", options.channel_swap) or None,
        )
    except ValueError as error:  # such as a mean of other channels than the net's
        raise ToolError(f"{options.model_def}: {error}") from error


def _scores(
    net: caffe.Classifier, images: Iterator[np.ndarray], options: argparse.Namespace
) -> np.ndarray:
    try:
        scores = predict(net, images, oversample=not options.center_only)
    except ValueError as error:  # such as images smaller than the crops
        raise ToolError(f"{options.input_file}: {error}") from error
    return scores.astype(np.float32)


def _numbers(flag: str, text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",") if part]
    except ValueError as error:
        raise ToolError(f"-{flag} {text}: expected whole numbers separated by ','") from error


def _mean(path: str) -> Optional[np.ndarray]:
    """The mean in an .npy or a binaryproto, ``(channels, height, width)`` or ``(channels,)``."""
    if not path:
        return None
    require_file(Path(path), "mean file")
    if path.endswith(".npy"):
        return _array(Path(path))
    try:
        blob = caffe_pb2.BlobProto.FromString(Path(path).read_bytes())
        mean = caffe.io.blobproto_to_array(blob)
    except (DecodeError, ValueError) as error:
        raise ToolError(f"{path}: expected a mean as .npy or .binaryproto ({error})") from error
    return mean[0] if mean.ndim == 4 else mean


def _array(path: Path) -> np.ndarray:
    try:
        return np.asarray(np.load(str(path), allow_pickle=False))
    except ValueError as error:
        raise ToolError(f"{path}: expected an array as numpy.save writes it ({error})") from error


def _images(options: argparse.Namespace, gray: bool) -> tuple[list[str], Iterator[np.ndarray]]:
    """The images' names and, one by one, the images, ``(height, width, channels)``."""
    source = options.input_file
    LOG.info("Loading %s: %s", "folder" if source.is_dir() else "file", source)
    if source.suffix == ".npy":
        require_file(source, "file of images")
        array = _array(source)
        if array.ndim != 4:
            raise ToolError(
                f"{source}: expected images (number, height, width, channels), found the shape "
                f"{array.shape}"
            )
        return [str(index) for index in range(len(array))], iter(array)
    files = sorted(source.glob(f"*.{options.ext}")) if source.is_dir() else [source]
    if not files:
        raise ToolError(f"{source}: no images *.{options.ext} in it; -ext names another ending")
    require_file(files[0], "image")
    return [str(file) for file in files], (_image(file, gray) for file in files)


def _image(path: Path, gray: bool) -> np.ndarray:
    try:
        return np.asarray(caffe.io.load_image(str(path), color=not gray))
    except (OSError, ValueError) as error:
        raise ToolError(f"{path}: not an image that can be read: {error}") from error


def _labels(path: Optional[Path]) -> Optional[list[str]]:
    if path is None:
        return None
    require_file(path, "file of names")
    return read_names(path)


def _print(names: list[str], scores: np.ndarray, labels: list[str], top: int) -> None:
    for name, row in zip(names, scores):
        print(name)
        for index in best(row, top):
            print(f"{row[index]:10.4f}  {labels[index]}")
