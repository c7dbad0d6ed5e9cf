"""Nets, solvers and LMDBs that several tests use."""

from __future__ import annotations

from pathlib import Path

import lmdb
import numpy as np
from google.protobuf import text_format

from caffe.proto import caffe_pb2

REPOSITORY = Path(__file__).resolve().parent.parent
MODELS = REPOSITORY / "config" / "models"


def write_lmdb(folder: Path, images: np.ndarray, labels: np.ndarray) -> Path:
    """An LMDB of ``images`` (N, C, H, W), uint8, in the order given."""
    environment = lmdb.open(str(folder), map_size=images.nbytes * 3 + (1 << 20))
    with environment, environment.begin(write=True) as transaction:
        for index, (image, label) in enumerate(zip(images, labels, strict=True)):
            channels, height, width = image.shape
            datum = caffe_pb2.Datum(
                channels=channels, height=height, width=width, data=image.tobytes()
            )
            datum.label = int(label)
            transaction.put(b"%08d" % index, datum.SerializeToString())
    return folder


def learnable_images(count: int, classes: int, shape: tuple[int, int, int], seed: int = 0):
    """Noisy images with a bright bar whose place is the class, and their labels."""
    random = np.random.default_rng(seed)
    images = random.integers(0, 120, (count, *shape), dtype=np.uint8)
    labels = np.arange(count) % classes
    height = shape[1] // classes + 1
    for image, label in zip(images, labels, strict=True):
        start = label * shape[1] // classes
        image[:, start : start + height] += 100
    return images, labels


def read_model(name: str):
    """The train_val net and the solver of ``config/models/<name>``, as messages."""
    folder = MODELS / name
    net, solver = caffe_pb2.NetParameter(), caffe_pb2.SolverParameter()
    text_format.Parse((folder / "train_val.prototxt").read_text(), net)
    text_format.Parse((folder / "solver.prototxt").read_text(), solver)
    return net, solver


def without_chance(net, batch_size: int):
    """``net`` without dropout, mirror, crop and mean file, reading ``train`` and ``val``."""
    kept = [layer for layer in net.layer if layer.type != "Dropout"]
    net.ClearField("layer")
    net.layer.extend(kept)
    for layer in net.layer:
        if layer.type == "Data":
            for field in ("mirror", "crop_size", "mean_file"):
                layer.transform_param.ClearField(field)
            layer.data_param.batch_size = batch_size
            layer.data_param.source = "train"
    return net
