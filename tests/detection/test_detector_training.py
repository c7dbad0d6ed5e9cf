"""A detector through caffetools: its images, training, weights, and detections."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from small_detector import CLASSES, detecting_net, settings, train_net, write_images

import caffe
from caffetools import train
from caffetools.cli import ToolError, is_users_mistake
from caffetools.detection import detect, detections, manifest, patch, roidb, training
from caffetools.detection.manifest import BACKGROUND, Box, Picture
from caffetools.history import read_history
from caffetools.loss_parts import read_losses
from recaffe.context import context
from recaffe.detection.proposal_targets import MEANS, STDS
from recaffe.proto.weights import read_weights

SOLVER = """
net: "train.prototxt" base_lr: 0.01 lr_policy: "fixed" momentum: 0.9 max_iter: {iterations}
random_seed: 7 snapshot: 2 snapshot_prefix: "small"
"""
LOSSES = ["rpn_loss_cls", "rpn_loss_bbox", "loss_cls", "loss_bbox"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    source = write_images(tmp_path)
    (tmp_path / "train.prototxt").write_text(train_net(settings(source)))
    (tmp_path / "solver.prototxt").write_text(SOLVER.format(iterations=4))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_step_whose_regions_are_as_many_as_are_found_is_not_compiled(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = caffe.SGDSolver("solver.prototxt")
    plain.step(2)
    monkeypatch.setattr(context, "compiles", True)
    monkeypatch.setattr(torch, "compile", lambda *_, **__: pytest.fail("a step was compiled"))
    asked = caffe.SGDSolver("solver.prototxt")
    asked.step(2)
    for name, blobs in plain.net.params.items():
        np.testing.assert_array_equal(asked.net.params[name][0].data, blobs[0].data)


def trained(place: str, *more: str) -> dict[str, list[np.ndarray]]:
    train.main([
        "--solver", "solver.prototxt", "--snapshots", f"{place}/snapshots", "--output",
        f"{place}/final.caffemodel", "--history", f"{place}/history.csv", "--losses",
        f"{place}/losses.csv", *more,
    ])  # fmt: skip
    return {layer.name: layer.blobs for layer in read_weights(f"{place}/final.caffemodel")}


def test_a_training_ends_in_published_weights_and_tells_each_loss(folder: Path):
    final = trained("a")
    snapshot = read_weights(folder / "a/snapshots" / "snapshot_iter_4.caffemodel")
    for layer in snapshot:
        for one, other in zip(layer.blobs, final[layer.name], strict=True):
            np.testing.assert_array_equal(one, other)
    solver = caffe.get_solver("solver.prototxt")
    solver.step(4)
    weight, bias = (blob.data for blob in solver.net.params["bbox_pred"])
    stds, means = np.tile(np.float32(STDS), CLASSES), np.tile(np.float32(MEANS), CLASSES)
    np.testing.assert_array_equal(final["bbox_pred"][0], weight * stds[:, None])
    np.testing.assert_array_equal(final["bbox_pred"][1], bias * stds + means)

    names, rows = read_losses(folder / "a/losses.csv")
    assert names == LOSSES
    assert [row.iteration for row in rows] == [1, 2, 3, 4]
    history = read_history(folder / "a/history.csv")
    np.testing.assert_allclose([sum(row.values) for row in rows], history.loss[1:], rtol=1e-6)
    assert rows[-1].values == tuple(
        pytest.approx(float(solver.net.blobs[name].data)) for name in LOSSES
    )


def test_one_that_is_made_longer_goes_on_to_the_bit(folder: Path):
    trained("a")
    (folder / "solver.prototxt").write_text(SOLVER.format(iterations=7))
    longer, whole = trained("a"), trained("b")
    for name, blobs in whole.items():
        for one, other in zip(blobs, longer[name], strict=True):
            np.testing.assert_array_equal(one, other)
    assert (folder / "a/losses.csv").read_text() == (folder / "b/losses.csv").read_text()


def test_other_images_start_it_afresh(folder: Path):
    before = train.fingerprint(Path("solver.prototxt"), None)
    lines = (folder / "roidb.jsonl").read_text()
    (folder / "roidb.jsonl").write_text(lines.replace('"image"', '"sha256": "0", "image"', 1))
    assert train.fingerprint(Path("solver.prototxt"), None) != before


def test_one_starts_from_published_weights(folder: Path):
    trained("a")
    text = SOLVER.format(iterations=1).replace("base_lr: 0.01", "base_lr: 0")
    (folder / "solver.prototxt").write_text(text)
    # Nothing is learnt, so what is saved is what was read, but for rounding.
    first, second = (
        {layer.name: layer.blobs for layer in read_weights("a/final.caffemodel")},
        trained("b", "--weights", "a/final.caffemodel"),
    )
    for name, blobs in first.items():
        for one, other in zip(blobs, second[name], strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-12)


def patched(output: str, settings: str = "{}") -> None:
    Path("test.prototxt").write_text(detecting_net())
    Path("classes.txt").write_text(f"{BACKGROUND}\na\nb\nc\nd\n")
    patch.main([
        "--train", "train.prototxt", "--test", "test.prototxt", "--solver", "solver.prototxt",
        "--classes", "classes.txt", "--roidb", "roidb.jsonl", "--root", ".", "--settings",
        settings, "--output", output,
    ])  # fmt: skip


def test_a_detector_of_other_classes_starts_from_all_but_its_heads(folder: Path):
    first = trained("a")
    patched(
        "other", '{"new_heads": true, "suffix": "_mine", "solver": {"max_iter": 1, "base_lr": 0}}'
    )
    arguments = ["--solver", "other/solver.prototxt", "--weights", "a/final.caffemodel"]
    second = trained("b", *arguments)
    assert second["cls_score_mine"][0].shape == (5, 16)
    assert second["bbox_pred_mine"][0].shape == (20, 16)
    shared = set(first) & set(second)
    assert shared == set(first) - {"cls_score", "bbox_pred"}
    for name in shared:
        for one, other in zip(first[name], second[name], strict=True):
            np.testing.assert_array_equal(one, other)
    net = caffe.Net("other/test.prototxt", "b/final.caffemodel", caffe.TEST)
    assert net.blobs["cls_prob"].data.shape[1] == 5
    assert net.blobs["bbox_pred"].data.shape[1] == 20

    patched("same")
    arguments[1] = "same/solver.prototxt"
    with pytest.raises(caffe.CaffeError, match="cls_score") as refused:
        trained("c", *arguments)
    assert is_users_mistake(refused.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("[", "expected a JSON object"),
        ("[]", r"expected a JSON object, found \[\]"),
        ('{"scle": 3}', "'scle' is no setting; did you mean 'scale'"),
        ('{"scale": "3"}', "scale: expected int, found '3'"),
        ('{"solver": {"base_lrr": 3}}', "base_lrr is no scalar field"),
    ],
)
def test_settings_that_are_none_are_named(folder: Path, settings: str, message: str):
    with pytest.raises(ToolError, match=message):
        patched("other", settings)
    assert not Path("other").exists()


def test_a_net_without_images_is_named(folder: Path):
    text = (folder / "train.prototxt").read_text()
    (folder / "train.prototxt").write_text(text.replace("RoIDataLayer", "Other"))
    with pytest.raises(ToolError, match="expected one Python layer RoIDataLayer"):
        patched("other")


def test_a_classifier_is_no_detector():
    net = caffe.proto.caffe_pb2.NetParameter()
    net.layer.add(type="Python").python_param.module = "rpn.proposal_layer"
    assert not training.is_detector(net)
    assert training.image_files(net) == []


PICTURES = [
    Picture(
        "a.png",
        (
            Box("cat", (1, 2, 3, 4)),
            Box("dog", (5, 6, 7.5, 8), difficult=True),
            Box("dog", (0, 0, 9, 9), crowd=True),
        ),
        "train",
        sha256="aa",
    ),
    Picture("b.png", (Box("dog", (0, 0, 1, 1), difficult=True),), "train"),
    Picture("c.png", (Box("dog", (0, 0, 1, 1)),), "train", dropped="is no image"),
    Picture("d.png", (Box("dog", (0, 0, 1, 1)),), "test"),
]


@pytest.fixture
def tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    manifest.write(tmp_path / "manifest.jsonl", PICTURES)
    (tmp_path / "classes.txt").write_text(f"{BACKGROUND}\ncat\ndog\n")
    return tmp_path


def written(*more: str) -> list[dict]:
    roidb.main(["--manifest", "manifest.jsonl", "--classes", "classes.txt", *more])
    return [json.loads(line) for line in Path(more[-1]).read_text().splitlines()]


def test_what_is_learnt_of_a_split_is_written(tables: Path):
    assert written("--output", "easy") == [
        {"image": "a.png", "boxes": [[1, 2, 3, 4]], "classes": [1], "sha256": "aa"}
    ]
    found = written("--difficult", "--output", "all")
    assert [entry["image"] for entry in found] == ["a.png", "b.png"]
    assert found[0]["boxes"] == [[1, 2, 3, 4], [5, 6, 7.5, 8]]
    assert found[0]["classes"] == [1, 2]
    assert [entry["image"] for entry in written("--split", "test", "--output", "t")] == ["d.png"]
    both = written("--split", "train", "test", "--output", "both")
    assert [entry["image"] for entry in both] == ["a.png", "d.png"]


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ("cat\ndog\n", "classes.txt:1: expected __background__"),
        ("__background__\ncat\n", "d.png: the class 'dog' is not among those to learn: cat"),
        ("__background__\ncat\ncat\n", "'cat' stands there twice"),
        ("__background__\n", "expected classes behind __background__"),
    ],
)
def test_classes_that_do_not_fit_are_named(tables: Path, classes: str, message: str):
    (tables / "classes.txt").write_text(classes)
    with pytest.raises(ToolError, match=message):
        written("--split", "test", "--output", "none")


def test_a_split_without_objects_is_named(tables: Path):
    with pytest.raises(ToolError, match="no image of val has an object to learn"):
        written("--split", "val", "--output", "none")


def test_boxes_of_each_class_are_chosen():
    from caffe.detection import choose

    scores = np.float32([[0.1, 0.9, 0], [0.2, 0.8, 0], [0, 0.04, 0.96], [0.3, 0.7, 0]])
    left, near, far = [0, 0, 9, 9], [0, 0, 9, 8], [20, 20, 29, 29]
    boxes = np.float32([[0] * 4 + left + far, [0] * 4 + near + far, [0] * 4 + left + left,
                        [0] * 4 + far + far])  # fmt: skip
    found = choose(scores, boxes)
    assert [(one.label, round(one.score, 2), one.box) for one in found] == [
        (2, 0.96, tuple(left)), (1, 0.9, tuple(left)), (1, 0.7, tuple(far)),
    ]  # fmt: skip
    assert len(choose(scores, boxes, overlap=0.95)) == 4
    assert len(choose(scores, boxes, threshold=0.8)) == 2
    assert len(choose(scores, boxes, most=1)) == 1


def test_what_a_trained_net_finds_is_written_by_image(folder: Path):
    trained("a")
    (folder / "test.prototxt").write_text(detecting_net())
    (folder / "classes.txt").write_text(f"{BACKGROUND}\nfirst\nsecond\n")
    detect.main([
        "--model", "test.prototxt", "--weights", "a/final.caffemodel", "--classes", "classes.txt",
        "--scale", "96", "--max-size", "160", "--score", "0.1", "--draw", "0.2", "--output",
        "found", "0.png", "1.png",
    ])  # fmt: skip
    found = detections.read(folder / "found/detections.csv")
    assert {one.path for one in found} <= {"0.png", "1.png"}
    told = json.loads((folder / "found/detections.json").read_text())
    assert [(one["path"], one["height"], one["width"]) for one in told] == [
        ("0.png", 64, 112), ("1.png", 72, 104)
    ]  # fmt: skip
    assert sum(len(one["detections"]) for one in told) == len(found) > 0
    drawn = cv2.imread("found/drawn/00001.0.png")
    assert drawn.shape == (round(480 * 64 / 112), 480, 3)
    assert not (drawn == cv2.resize(cv2.imread("0.png"), drawn.shape[1::-1])).all()


def test_a_detector_of_other_classes_is_named(folder: Path):
    trained("a")
    (folder / "test.prototxt").write_text(detecting_net())
    (folder / "classes.txt").write_text(f"{BACKGROUND}\nfirst\n")
    arguments = ["--model", "test.prototxt", "--weights", "a/final.caffemodel", "--classes",
                 "classes.txt", "--output", "found"]  # fmt: skip
    with pytest.raises(ToolError, match=r"knows 3 classes, and classes\.txt names 2"):
        detect.main([*arguments, "0.png"])
    with pytest.raises(ToolError, match="no images: name files or folders"):
        detect.main(arguments)
    assert not (folder / "found").exists()
