"""Snapshots of a detector as they were published, and going on from them to the bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from small_detector import CLASSES, settings, train_net, write_images

import caffe
from recaffe.detection.proposal_targets import MEANS, STDS
from recaffe.proto.weights import read_weights

SOLVER = """
base_lr: 0.01 lr_policy: "fixed" momentum: 0.9 weight_decay: 0.0005 iter_size: 2 display: 0
random_seed: 7 snapshot_prefix: "{folder}/small" net: "{folder}/train.prototxt"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("detector")
    source = write_images(folder)
    (folder / "train.prototxt").write_text(train_net(settings(source)))
    (folder / "solver.prototxt").write_text(SOLVER.format(folder=folder))
    return folder


def solver_of(folder: Path):
    return caffe.get_solver(str(folder / "solver.prototxt"))


def weights_of(net) -> dict[str, list[np.ndarray]]:
    return {name: [blob.data.copy() for blob in blobs] for name, blobs in net.params.items()}


def test_a_snapshot_gives_deltas_and_training_goes_on_from_it_to_the_bit(folder: Path):
    whole = solver_of(folder)
    whole.step(3)
    before = weights_of(whole.net)
    whole.snapshot()
    after = weights_of(whole.net)
    whole.step(3)

    for name, blobs in before.items():
        for one, other in zip(blobs, after[name], strict=True):
            np.testing.assert_array_equal(one, other)
    saved = {layer.name: layer.blobs for layer in read_weights(folder / "small_iter_3.caffemodel")}
    stds, means = np.tile(np.float32(STDS), CLASSES), np.tile(np.float32(MEANS), CLASSES)
    weight, bias = before["bbox_pred"]
    np.testing.assert_array_equal(saved["bbox_pred"][0], weight * stds[:, None])
    np.testing.assert_array_equal(saved["bbox_pred"][1], bias * stds + means)
    for name in set(before) - {"bbox_pred"}:
        np.testing.assert_array_equal(saved[name][0], before[name][0])

    resumed = solver_of(folder)
    resumed.restore(str(folder / "small_iter_3.solverstate"))
    resumed.step(3)
    expected, found = weights_of(whole.net), weights_of(resumed.net)
    for name, blobs in expected.items():
        for one, other in zip(blobs, found[name], strict=True):
            np.testing.assert_array_equal(one, other)
    assert np.abs(expected["bbox_pred"][0] - before["bbox_pred"][0]).max() > 0


def test_weights_to_start_from_are_brought_back(folder: Path):
    solver = solver_of(folder)
    solver.step(2)
    solver.snapshot()
    expected = weights_of(solver.net)
    text = SOLVER.format(folder=folder) + f'weights: "{folder}/small_iter_2.caffemodel"'
    (folder / "tuned.prototxt").write_text(text)
    tuned = weights_of(caffe.get_solver(str(folder / "tuned.prototxt")).net)
    for name, blobs in expected.items():
        for one, other in zip(blobs, tuned[name], strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-12)


def test_a_script_that_saves_a_net_folds_by_itself(folder: Path):
    # As py-faster-rcnn's train.py does, whose own scaling would count twice.
    solver = solver_of(folder)
    solver.net.save(str(folder / "own.caffemodel"))
    saved = {layer.name: layer.blobs for layer in read_weights(folder / "own.caffemodel")}
    np.testing.assert_array_equal(saved["bbox_pred"][0], solver.net.params["bbox_pred"][0].data)


def test_the_losses_fall(folder: Path):
    solver = solver_of(folder)
    names = ("rpn_loss_cls", "rpn_loss_bbox", "loss_cls", "loss_bbox")
    losses = []
    for _ in range(40):
        solver.step(1)
        losses.append([float(solver.net.blobs[name].data) for name in names])
    first, last = np.mean(losses[:8], 0), np.mean(losses[-8:], 0)
    assert np.isfinite(losses).all()
    assert last[0] < 0.8 * first[0]
    assert last[2] < 0.8 * first[2]
