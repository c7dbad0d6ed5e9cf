"""caffetools.ten_crop against pycaffe's own oversampling Classifier."""

from __future__ import annotations

import json
from pathlib import Path

import bvlc as bvlc_build
import lmdb
import numpy as np
import pytest

import caffe
from caffe.proto import caffe_pb2
from caffetools import evaluate, prototxt, ten_crop
from caffetools.cli import ToolError
from caffetools.deploy import to_deploy

ENTRIES, CLASSES, CHANNELS, HEIGHT, WIDTH, CROP = 7, 6, 3, 9, 12, 6
MEAN = [20.0, 40.0, 60.0]
NET = """
layer { name: "data" type: "Data" top: "data" top: "label" include { phase: TEST }
  transform_param { scale: 0.01 crop_size: 6 mean_value: 20 mean_value: 40 mean_value: 60 }
  data_param { source: "nowhere" batch_size: 3 backend: LMDB } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 4 kernel_size: 3 } }
layer { name: "ip" type: "InnerProduct" bottom: "conv" top: "ip"
  inner_product_param { num_output: 6 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""
ARGUMENTS = [
    *("--net", "train_val.prototxt", "--weights", "net.caffemodel", "--lmdb", "lmdb/test"),
    *("--crops", "10", "--resamples", "20", "--output-dir", "out"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("crops")
    random = np.random.default_rng(2)
    (place / "train_val.prototxt").write_text(NET)
    net = caffe_pb2.NetParameter()
    shapes = {"conv": (4, CHANNELS, 3, 3), "ip": (CLASSES, 4 * 4 * 4)}
    for name, shape in shapes.items():
        layer = net.layer.add(name=name)
        for values in (random.normal(size=shape), random.normal(size=shape[:1])):
            layer.blobs.add(data=values.ravel().tolist()).shape.dim.extend(values.shape)
    (place / "net.caffemodel").write_bytes(net.SerializeToString())
    (place / "lmdb").mkdir()
    images = random.integers(0, 256, (ENTRIES, CHANNELS, HEIGHT, WIDTH), dtype=np.uint8)
    np.save(place / "images.npy", images)
    environment = lmdb.open(str(place / "lmdb" / "test"), map_size=1 << 20)
    with environment, environment.begin(write=True) as transaction:
        for index, image in enumerate(images):
            datum = caffe.io.array_to_datum(image, label=index % CLASSES)
            transaction.put(b"%08d_x/y.png" % index, datum.SerializeToString())
    (place / "lmdb" / "test.json").write_text(json.dumps({"entries": ENTRIES}))
    return place


@pytest.fixture(scope="module")
def expected(folder: Path) -> np.ndarray:
    """(entries, classes) as pycaffe's Classifier gives them, which crops images by itself."""
    message = prototxt.read_net(folder / "train_val.prototxt")
    prototxt.write(folder / "deploy.prototxt", to_deploy(message, (CHANNELS, HEIGHT, WIDTH)))
    classifier = caffe.Classifier(
        str(folder / "deploy.prototxt"),
        str(folder / "net.caffemodel"),
        image_dims=(HEIGHT, WIDTH),
        mean=np.array(MEAN),
        input_scale=0.01,
    )
    images = np.load(folder / "images.npy").transpose(0, 2, 3, 1).astype(np.float32)
    return np.asarray(classifier.predict(list(images), oversample=True))


def test_crops_are_those_of_the_classifier(folder: Path, expected: np.ndarray) -> None:
    message = prototxt.read_net(folder / "train_val.prototxt")
    weights = folder / "net.caffemodel"
    outcome = ten_crop.forward(message, folder / "lmdb" / "test", weights, ENTRIES)
    np.testing.assert_allclose(outcome.scores, expected, rtol=2e-5, atol=1e-7)
    assert outcome.labels.tolist() == [index % CLASSES for index in range(ENTRIES)]
    assert np.ptp(expected, axis=1).min() > 0.1  # else every net would do


def check(evaluation: str, expected: np.ndarray) -> None:
    labels = np.arange(ENTRIES) % CLASSES
    summary = json.loads(evaluation)
    figures = summary["ten_crop"]
    assert figures["accuracy"] == pytest.approx(np.mean(expected.argmax(axis=1) == labels))
    own = np.sort(expected, axis=1)[:, 0]
    assert figures["top_5_accuracy"] == pytest.approx(
        np.mean(expected[np.arange(ENTRIES), labels] > own)
    )
    loss = -np.mean(np.log(expected[np.arange(ENTRIES), labels]))
    assert figures["mean_loss"] == pytest.approx(loss, rel=1e-4)
    assert figures["mean_loss"] != pytest.approx(summary["mean_loss"], rel=1e-2)


def test_the_command_judges_by_ten_crops_as_well(
    folder: Path, expected: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    evaluate.main(ARGUMENTS)
    check((folder / "out" / "evaluation.json").read_text(), expected)


@pytest.mark.oracle
def test_bvlcs_own_build_judges_alike(
    bvlc: bvlc_build.Build, folder: Path, expected: np.ndarray
) -> None:
    files: dict[str, bvlc_build.Content] = {
        name: folder / name for name in ("net.caffemodel", "train_val.prototxt", "lmdb")
    }
    with bvlc.workplace(files) as place:
        place.module("caffetools.evaluate", *ARGUMENTS)
        check((place.path / "out" / "evaluation.json").read_text(), expected)


def test_a_net_without_a_crop_has_no_ten(folder: Path) -> None:
    message = prototxt.read_net(folder / "train_val.prototxt")
    message.layer[0].transform_param.ClearField("crop_size")
    with pytest.raises(ToolError, match="layer 'data': ten crops need a crop_size"):
        ten_crop.forward(message, folder / "lmdb" / "test", folder / "net.caffemodel", ENTRIES)


def test_images_smaller_than_the_crop_are_named(folder: Path) -> None:
    message = prototxt.read_net(folder / "train_val.prototxt")
    message.layer[0].transform_param.crop_size = 10
    with pytest.raises(ToolError, match="crop"):
        ten_crop.forward(message, folder / "lmdb" / "test", folder / "net.caffemodel", ENTRIES)
