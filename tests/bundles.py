"""A small trained-looking net with images, LMDB and mean, for tests of bundles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from google.protobuf import text_format
from recipes import learnable_images

import caffe
from caffe.proto import caffe_pb2
from caffetools import deploy, lmdb, mean, prototxt

CLASSES = ["<b>&", "bee", "cat"]
SIZE = (18, 20)  # height and width of the LMDB's images; the files' are others
NET = """
name: "small"
layer {{ name: "data" type: "Data" top: "data" top: "label" include {{ phase: TEST }}
        transform_param {{ {transform} }}
        data_param {{ source: "elsewhere" batch_size: 5 backend: LMDB }} }}
layer {{ name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param {{ num_output: 6 kernel_size: 3 stride: 2
                             weight_filler {{ type: "xavier" }} }} }}
layer {{ name: "relu" type: "ReLU" bottom: "conv" top: "conv" }}
{more}
layer {{ name: "ip" type: "InnerProduct" bottom: "conv" top: "ip"
        inner_product_param {{ num_output: 3 weight_filler {{ type: "xavier" }} }} }}
layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" }}
"""
TRANSFORM = 'mean_file: "mean.binaryproto" crop_size: 15 scale: 0.02'
# Neither OpenCV nor ONNX has it.
IM2COL = """
layer { name: "im2col" type: "Im2col" bottom: "conv" top: "columns"
        convolution_param { kernel_size: 2 } }
layer { name: "tanh" type: "TanH" bottom: "columns" top: "conv2" }
"""


@dataclass
class Made:
    """A folder with nets, weights, classes, photos, the LMDB ``test`` of them and its mean."""

    folder: Path

    def arguments(self, *more: str) -> list[str]:
        """For ``caffetools.bundle.make``, run in the folder."""
        return [
            *("--net", "train_val.prototxt", "--deploy", "deploy.prototxt"),
            *("--weights", "net.caffemodel", "--classes", "classes.txt", "--lmdb", "test"),
            *("--images", "photos", "--output", "bundle", *more),
        ]


def write(
    folder: Path,
    transform: str = TRANSFORM,
    gray: bool = False,
    more: str = "",
    images: int = 12,
    converted: Sequence[str] = (),
) -> Made:
    """All of it; the working folder must be ``folder``, since the net names its mean.

    ``converted`` is told to ``caffetools.lmdb`` as well.
    """
    write_images(folder / "photos", images)
    listed = sorted(
        path.relative_to(folder / "photos") for path in (folder / "photos").rglob("*.png")
    )
    text = "".join(f"{path.as_posix()} {CLASSES.index(path.parent.name)}\n" for path in listed)
    (folder / "list.txt").write_text(text)
    (folder / "classes.txt").write_text("".join(f"{name}\n" for name in CLASSES))
    height, width = SIZE
    lmdb.main(
        ["convert", "--list", str(folder / "list.txt"), "--root", str(folder / "photos")]
        + ["--output", str(folder / "test"), "--width", str(width), "--height", str(height)]
        + (["--gray"] if gray else [])
        + list(converted)
    )
    if "short" not in converted:
        mean.main(["--lmdb", str(folder / "test"), "--output", str(folder / "mean.binaryproto")])
    text = NET.format(transform=transform, more=more)
    if more:
        text = text.replace('"InnerProduct" bottom: "conv"', '"InnerProduct" bottom: "conv2"')
    net = text_format.Parse(text, caffe_pb2.NetParameter())
    prototxt.write(folder / "train_val.prototxt", net)
    answering = deploy.to_deploy(net, (1 if gray else 3, height, width))
    prototxt.write(folder / "deploy.prototxt", answering)
    write_weights(folder, "net.caffemodel", seed=7)
    return Made(folder)


def write_images(folder: Path, count: int) -> None:
    """PNG files in class folders, coloured, so that the order of channels matters."""
    images, labels = learnable_images(count, len(CLASSES), (3, 30, 26))
    tint = np.array([0.3, 0.7, 1.0])
    for index, (image, label) in enumerate(zip(images, labels, strict=True)):
        path = folder / CLASSES[label] / f"{index:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path), (image.transpose(1, 2, 0) * tint).astype(np.uint8))


def write_weights(folder: Path, name: str, seed: int) -> None:
    """Weights for the deploy net."""
    net = caffe.Net(str(folder / "deploy.prototxt"), caffe.TEST)
    random = np.random.default_rng(seed)
    for blobs in net.params.values():
        for blob in blobs:
            fan_in = blob.data[0].size
            blob.data[...] = random.standard_normal(blob.data.shape) / np.sqrt(fan_in)
    net.save(str(folder / name))
