"""OpenCV's reader of Caffe's files, which has no line in common with ours, as a witness.

It reads the deploy net and the weights that were written here, and must come to the same
probabilities as this project's nets do on the same images.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from recipes import MODELS, learnable_images, write_lmdb

import caffe
from caffetools import patch, prototxt

CLASSES = 5


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def assert_same_probabilities(net_message, deploy: Path, weights: Path) -> np.ndarray:
    """One batch of the TEST net, by pycaffe's face and by OpenCV's; return the probabilities.

    The images are those of the net's Data layer, after mean, scale and crop.
    """
    folder = weights.parent
    test = folder / "witness.prototxt"
    prototxt.write(test, net_message)
    net = caffe.Net(str(test), caffe.TEST, weights=str(weights))
    test.unlink()
    net.forward()
    images = np.array(net.blobs["data"].data)
    assert len(images) > 1
    assert images.std() > 0

    ours = caffe.Net(str(deploy), caffe.TEST, weights=str(weights))
    ours.blobs[ours.inputs[0]].reshape(*images.shape)
    found = np.array(next(iter(ours.forward(**{ours.inputs[0]: images}).values())))

    witness = cv2.dnn.readNetFromCaffe(str(deploy), str(weights))
    witness.setInput(images)
    expected = witness.forward()
    assert expected.shape == found.shape
    np.testing.assert_allclose(found, expected, atol=1e-5, rtol=0)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)
    # The images are told apart, so that agreement means something.
    assert np.abs(found - found[0]).max() > 1e-4
    return found


def patched(name: str, folder: Path, shape: tuple[int, int, int], batch: int):
    """The model with a new head, written by caffetools.patch, on an LMDB of random bars."""
    images, labels = learnable_images(3 * batch, CLASSES, shape)
    write_lmdb(folder / "train", images, labels)
    settings = {
        "head": {"lenet": "ip2", "caffenet": "fc8"}[name],
        "new_head": "new_head",
        "classes": CLASSES,
        "head_lr_mult": 10,
        "train_source": str(folder / "train"),
        "val_source": str(folder / "train"),
        "mean_file": None,
        "batch_size": {"train": batch, "val": batch},
        "input_shape": list(shape),
        "solver": {"base_lr": 0.01, "max_iter": 10, "test_iter": 1, "random_seed": 3},
    }
    with contextlib.chdir(folder):
        patch.main(
            [
                *("--net", str(MODELS / name / "train_val.prototxt")),
                *("--solver", str(MODELS / name / "solver.prototxt")),
                *("--settings", json.dumps(settings), "--output", "."),
            ]
        )
    return prototxt.read_net(folder / "train_val.prototxt")


def test_a_lenet_trained_here_is_opencvs_too(tmp_path):
    net = patched("lenet", tmp_path, (1, 28, 28), batch=6)
    with contextlib.chdir(tmp_path):
        solver = caffe.get_solver("solver.prototxt")
        solver.step(8)
        solver.net.save("final.caffemodel")
    found = assert_same_probabilities(
        net, tmp_path / "deploy.prototxt", tmp_path / "final.caffemodel"
    )
    assert found.shape == (6, CLASSES)


def test_a_caffenet_of_random_weights_is_opencvs_too(tmp_path):
    net = patched("caffenet", tmp_path, (3, 227, 227), batch=3)
    caffe.set_random_seed(1)
    with contextlib.chdir(tmp_path):
        made = caffe.Net("train_val.prototxt", caffe.TEST)
        # As they are drawn, Caffenet's weights hardly tell images apart.
        for blobs in made.params.values():
            blobs[0].data[...] *= 2
        made.save("random.caffemodel")
    found = assert_same_probabilities(
        net, tmp_path / "deploy.prototxt", tmp_path / "random.caffemodel"
    )
    assert found.shape == (3, CLASSES)
