"""RoIDataLayer: images and their objects, in order and mirrored, from a file or a script."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from small_detector import data, settings, write_images

import caffe
from recaffe.detection.images import MEAN, prepare, scale_of

ORDERED = "'mirror': false, 'shuffle': false"


def build(folder: Path, text: str) -> caffe.Net:
    (folder / "net.prototxt").write_text(text)
    return caffe.Net(str(folder / "net.prototxt"), caffe.TRAIN)


def outputs(net) -> dict[str, np.ndarray]:
    net.forward()
    return {name: net.blobs[name].data.copy() for name in ("data", "im_info", "gt_boxes")}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_images(tmp_path)


def test_images_are_scaled_as_published():
    # The shorter side to 600, unless the longer would pass 1000.
    assert scale_of(375, 500, 600, 1000) == 1.6
    assert scale_of(300, 900, 600, 1000) == 1000 / 900
    # 1000.4 is rounded, and passes.
    assert scale_of(2500, 4168, 600, 1000) == 600 / 2500


def test_the_mean_is_subtracted_before_scaling(tmp_path: Path):
    image = np.random.RandomState(1).randint(0, 256, (30, 40, 3)).astype(np.uint8)
    expected = cv2.resize(image.astype(np.float32) - np.float32(MEAN), (64, 48))
    found, factor = prepare(image.transpose(2, 0, 1), 48, 100)
    assert factor == 1.6
    np.testing.assert_array_equal(found[0], expected.transpose(2, 0, 1))


def test_blobs_are_of_the_image_and_its_objects(source: Path):
    net = build(source.parent, data(settings(source, ORDERED)))
    assert net.blobs["data"].data.shape == (1, 3, 96, 160)
    for index in (0, 1, 2, 3, 4, 0):
        image = cv2.imread(str(source.parent / f"{index}.png"))
        line = json.loads(source.read_text().splitlines()[index])
        expected, factor = prepare(image.transpose(2, 0, 1), 96, 160)
        found = outputs(net)
        np.testing.assert_array_equal(found["data"], expected)
        np.testing.assert_allclose(found["im_info"], [[*expected.shape[2:], factor]], rtol=1e-6)
        np.testing.assert_allclose(
            found["gt_boxes"][:, :4], np.array(line["boxes"]) * factor, rtol=1e-6
        )
        assert found["gt_boxes"][:, 4].tolist() == line["classes"]


def test_every_image_comes_once_as_it_is_and_once_mirrored_each_turn(source: Path):
    caffe.set_random_seed(3)
    net = build(source.parent, data(settings(source)))
    turns = [[outputs(net) for _ in range(10)] for _ in range(2)]
    orders = [[found["data"].tobytes() for found in turn] for turn in turns]
    assert sorted(orders[0]) == sorted(orders[1])
    assert len(set(orders[0])) == 10
    assert orders[0] != orders[1]
    found = {one["data"].tobytes(): one for one in turns[0]}
    for index, line in enumerate(map(json.loads, source.read_text().splitlines())):
        image = cv2.imread(str(source.parent / f"{index}.png")).transpose(2, 0, 1)
        boxes, last = np.array(line["boxes"]), image.shape[2] - 1
        x1, y1, x2, y2 = boxes.T
        mirrored = np.stack([last - x2, y1, last - x1, y2], 1)
        for mirror, expected in ((False, boxes), (True, mirrored)):
            pixels, factor = prepare(image, 96, 160, mirror=mirror)
            objects = found[pixels.tobytes()]["gt_boxes"]
            np.testing.assert_allclose(objects[:, :4], expected * factor, rtol=1e-6)
            assert objects[:, 4].tolist() == line["classes"]


def test_a_script_gives_the_images(source: Path):
    lines = [json.loads(line) for line in source.read_text().splitlines()]
    roidb = [
        {
            "image": str(source.parent / line["image"]),
            # A proposal, of class 0, which is no ground truth.
            "boxes": np.array([*line["boxes"], [0, 0, 5, 5]], np.uint16),
            "gt_classes": np.array([*line["classes"], 0], np.int32),
            "flipped": False,
        }
        for line in lines
    ]
    by_script = build(source.parent, data("'scale': 96, 'max_size': 160, 'shuffle': false"))
    by_script.layers[0].set_roidb(roidb)
    by_file = build(source.parent, data(settings(source, ORDERED)))
    for _ in range(6):
        expected, found = outputs(by_file), outputs(by_script)
        for name, value in expected.items():
            np.testing.assert_array_equal(found[name], value)
    flipped = {**roidb[0], "flipped": True}
    by_script.layers[0].set_roidb([flipped])
    image = cv2.imread(roidb[0]["image"])[:, ::-1]
    expected, _ = prepare(image.transpose(2, 0, 1), 96, 160)
    np.testing.assert_array_equal(outputs(by_script)["data"], expected)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", r"roidb\.jsonl:6: no JSON"),
        ('{"image": "a.png"}', r"roidb\.jsonl:6: expected \{\"image\": path"),
        ('{"image": 3, "boxes": [], "classes": []}', r"roidb\.jsonl:6: expected \{\"image\": path"),
        ('{"image": "a", "boxes": [[1, 2, 3]], "classes": [1]}', ":6: expected boxes of four"),
        ('{"image": "a", "boxes": [[1, 2, 3, "x"]], "classes": [1]}', ":6: expected boxes of four"),
        ('{"image": "a", "boxes": [[1, 2, 3, 4]], "classes": [1, 2]}', ":6: expected boxes of fou"),
        ('{"image": "a", "boxes": [[1, 2, 3, 4]], "classes": [1.5]}', ":6: expected boxes of four"),
        ('{"image": "a", "boxes": [[1, 2, 3, 4]], "classes": [3]}', "classes from 1 to 2, since"),
        ('{"image": "a", "boxes": [[1, 2, 3, 4]], "classes": [0]}', "classes from 1 to 2, since"),
        ('{"image": "a", "boxes": [[5, 2, 3, 4]], "classes": [1]}', "second corner not before"),
        ('{"image": "a", "boxes": [[NaN, 2, 3, 4]], "classes": [1]}', "second corner not before"),
        ('{"image": "a", "boxes": [[1, 2, 3, 1e30]], "classes": [1]}', "second corner not before"),
        ("[" * 100_000, r"roidb\.jsonl:6: no JSON"),
    ],
)
def test_a_line_that_is_no_image_is_named(source: Path, line: str, message: str):
    source.write_text(source.read_text() + line + "\n")
    with pytest.raises(caffe.CaffeError, match=message):
        build(source.parent, data(settings(source)))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("'source': 'none'", "none: cannot read the images' boxes"),
        ("'source': 3", "source: expected a text, found 3"),
        ("'mirror': 1", "mirror: expected true or false, found 1"),
        ("'scale': 0", "scale: expected a whole number above 0, found 0"),
        ("'mean': [1, 2]", "mean: expected 3 numbers"),
    ],
)
def test_settings_that_are_none_are_named(more: str, message: str, tmp_path: Path):
    with pytest.raises(caffe.CaffeError, match=message):
        build(tmp_path, data(more))


def test_images_that_are_absent_or_none_given_are_named(source: Path):
    (source.parent / "0.png").unlink()
    net = build(source.parent, data(settings(source, ORDERED)))
    with pytest.raises(caffe.CaffeError, match=r"roidb\.jsonl:1: .*0\.png: cannot read the image"):
        net.forward()
    with pytest.raises(caffe.CaffeError, match="there are no images yet"):
        build(source.parent, data("'scale': 96")).forward()
    empty = source.with_name("empty.jsonl")
    empty.write_text("")
    with pytest.raises(caffe.CaffeError, match="names no image"):
        build(source.parent, data(settings(empty)))
    layer = build(source.parent, data("'scale': 96")).layers[0]
    with pytest.raises(caffe.CaffeError, match="the roidb is empty"):
        layer.set_roidb([])
    with pytest.raises(caffe.CaffeError, match=r"roidb\[0\]: expected image, boxes"):
        layer.set_roidb([{"image": "a"}])


def test_other_layers_have_no_roidb(tmp_path: Path):
    dummy = "dummy_data_param { shape { dim: 1 } }"
    net = build(tmp_path, f'layer {{ name: "a" type: "DummyData" top: "a" {dummy} }}')
    with pytest.raises(AttributeError):
        net.layers[0].set_roidb([])
