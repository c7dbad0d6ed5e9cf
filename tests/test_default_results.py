"""What `make run` leaves, judged by software that nobody here wrote."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import cv2
import lmdb
import numpy as np
import pytest
from recipes import REPOSITORY

import caffe
from caffe.proto import caffe_pb2
from caffetools import prototxt

RESULTS = REPOSITORY / "results" / "digits"
EXPERIMENTS = ("finetune", "frozen", "scratch")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (RESULTS / "report.html").exists(), reason="`make run` has not been run here"
    ),
]


def all_test_images() -> np.ndarray:
    """All images of the test LMDB, (N, 1, 28, 28), scaled as LeNet's data layer does."""
    environment = lmdb.open(str(RESULTS / "lmdb" / "test"), readonly=True, lock=False)
    with environment, environment.begin() as transaction:
        data = [caffe_pb2.Datum.FromString(value) for _, value in transaction.cursor()]
    pixels = np.frombuffer(b"".join(datum.data for datum in data), np.uint8)
    return pixels.reshape(len(data), 1, 28, 28).astype(np.float32) * np.float32(1 / 256)


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_opencv_sees_every_test_image_as_we_do(experiment):
    run = RESULTS / "experiments" / experiment / "seed0"
    deploy, weights = str(run / "deploy.prototxt"), str(run / "final.caffemodel")
    images = all_test_images()
    net = caffe.Net(deploy, weights, caffe.TEST)
    net.blobs["data"].reshape(*images.shape)
    ours = net.forward(data=images)["prob"]
    witness = cv2.dnn.readNetFromCaffe(deploy, weights)
    witness.setInput(images)
    np.testing.assert_allclose(ours, witness.forward(), atol=1e-5, rtol=0)
    with (run / "predictions.csv").open(newline="") as stream:
        predicted = [int(row["predicted"]) for row in csv.DictReader(stream)]
    assert predicted == ours.argmax(axis=1).tolist()


@pytest.mark.oracle
def test_bvlc_counts_the_same_errors(bvlc):
    run = RESULTS / "experiments" / "finetune" / "seed0"
    net = prototxt.read_net(run / "train_val.prototxt")
    for layer in net.layer:
        if layer.type == "Data":
            layer.data_param.source = "test"
    files = {
        "train_val.prototxt": prototxt.to_text(net),
        "final.caffemodel": run / "final.caffemodel",
        "test": RESULTS / "lmdb" / "test",
        "test.json": RESULTS / "lmdb" / "test.json",
    }
    with bvlc.workplace(files) as place:
        place.module(
            "caffetools.evaluate", "--net", "train_val.prototxt", "--weights", "final.caffemodel",
            "--lmdb", "test", "--output-dir", ".",
        )  # fmt: skip
        theirs = json.loads(Path(place.path, "evaluation.json").read_text())
    ours = json.loads((run / "evaluation.json").read_text())
    assert theirs["entries"] == ours["entries"]
    assert theirs["errors"] == ours["errors"]
    assert theirs["mean_loss"] == pytest.approx(ours["mean_loss"], rel=1e-5)
