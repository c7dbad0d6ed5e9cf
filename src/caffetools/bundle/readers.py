"""The readers that a bundle is held against, each giving ``(N, classes)`` probabilities.

A reader that cannot read the bundle raises :class:`NotCheckedError` with the reason.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from caffetools import databases, prototxt, scoring
from caffetools.bundle.contents import DEPLOY, WEIGHTS
from caffetools.bundle.preprocessing import Preprocessing
from caffetools.classifying import predict

os.environ.setdefault("GLOG_minloglevel", "1")
import caffe

_AT_ONCE = 8  # images through a reader, so that large nets need little memory


class NotCheckedError(Exception):
    """This reader cannot read the bundle at all."""


def by_test_net(net: Path, weights: Path, records: Sequence[tuple[bytes, bytes]]) -> np.ndarray:
    """The TEST net of a ``train_val.prototxt`` over an LMDB of these records, as evaluated."""
    with tempfile.TemporaryDirectory() as folder:
        databases.write(Path(folder), records)
        scored = scoring.net_on(prototxt.read_net(net), Path(folder))
        outcome = scoring.forward(scored, weights, len(records))
    return np.exp(outcome.log_probabilities)


def classifier(folder: Path, preprocessing: Preprocessing) -> Any:
    """The ``caffe.Classifier`` of a bundle, for what ``classifier_image`` makes of images."""
    return caffe.Classifier(
        str(folder / DEPLOY), str(folder / WEIGHTS), **preprocessing.classifier_options()
    )


def by_classifier(
    folder: Path, preprocessing: Preprocessing, images: Sequence[np.ndarray]
) -> np.ndarray:
    """``caffe.Classifier`` on uint8 images as :meth:`Preprocessing.image` gives them."""
    given = (preprocessing.classifier_image(image) for image in images)
    return predict(classifier(folder, preprocessing), given, oversample=False)


def by_opencv(folder: Path, inputs: np.ndarray) -> np.ndarray:
    """OpenCV's importer of Caffe's files on net inputs ``(N, channels, height, width)``."""
    if not hasattr(cv2.dnn, "readNetFromCaffe"):
        raise NotCheckedError(f"OpenCV {cv2.__version__} has no importer of Caffe's files")
    cv2.setNumThreads(1)
    try:
        net = cv2.dnn.readNetFromCaffe(str(folder / DEPLOY), str(folder / WEIGHTS))
        made = []
        for start in range(0, len(inputs), _AT_ONCE):
            net.setInput(inputs[start : start + _AT_ONCE])
            made.append(np.array(net.forward()))
    except cv2.error as error:
        raise NotCheckedError(
            f"OpenCV {cv2.__version__} cannot read the net: {_first_line(error)}"
        ) from error
    return np.concatenate(made).reshape(len(inputs), -1)


def by_onnxruntime(model: Any, inputs: np.ndarray) -> np.ndarray:
    """onnxruntime on net inputs ``(N, channels, height, width)``.

    A model of a fixed batch gets whole batches: the last one is filled up, and cut again.
    """
    from caffetools.onnx_export import check

    batch = model.graph.input[0].type.tensor_type.shape.dim[0].dim_value
    at_once = batch or _AT_ONCE
    made = []
    try:
        answering = check.Session(model)
        (name,) = answering.inputs
        for start in range(0, len(inputs), at_once):
            part = inputs[start : start + at_once]
            filling = inputs[:1].repeat(batch - len(part) if batch else 0, axis=0)
            answer = next(iter(answering.run({name: np.concatenate([part, filling])}).values()))
            made.append(answer.reshape(len(part) + len(filling), -1)[: len(part)])
    except check.NotRunError as error:
        raise NotCheckedError(str(error)) from error
    return np.concatenate(made)


def _first_line(error: cv2.error) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # OpenCV names its own source file first, by a path of the machine that built it.
    return lines[0].rpartition("error: ")[2] if lines else "without saying why"
