"""From an image file to a net's input: as Caffe's Data layer does it, and nothing hostile."""

from __future__ import annotations

import json
from pathlib import Path

import bundles
import cv2
import numpy as np
import pytest
from google.protobuf import text_format

import caffe
from caffe.proto import caffe_pb2
from caffetools import databases, mean, prototxt, scoring
from caffetools.bundle import preprocessing
from caffetools.bundle.preprocessing import Preprocessing
from caffetools.cli import ToolError

MANIFEST = {"channels": 3, "height": 18, "width": 20}
TRANSFORMS = {
    "mean file and odd crop": bundles.TRANSFORM,
    "mean file, even crop": 'mean_file: "mean.binaryproto" crop_size: 12',
    "mean values": "mean_value: 90 mean_value: 100.3 mean_value: 110.5 scale: 0.017",
    "one mean value": "mean_value: 100 crop_size: 16 scale: 0.03",
    "nothing": "",
}


@pytest.mark.parametrize("gray", [False, True])
@pytest.mark.parametrize("transform", TRANSFORMS.values(), ids=TRANSFORMS)
def test_inputs_are_those_of_the_data_layer_bit_by_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, transform: str, gray: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    if gray and transform.count("mean_value") > 1:
        transform = "mean_value: 90 scale: 0.017"
    bundles.write(tmp_path, transform, gray)
    net = prototxt.read_net(tmp_path / "train_val.prototxt")
    layer = scoring.data_layer_on(prototxt.phase_view(net, prototxt.TEST), tmp_path / "test")
    manifest = json.loads((tmp_path / "test.json").read_text())
    made = preprocessing.of_net(layer, manifest)
    (tmp_path / "bundle").mkdir()
    preprocessing.write(tmp_path / "bundle", made)
    (tmp_path / "bundle" / "mean.binaryproto").write_bytes(
        (tmp_path / "mean.binaryproto").read_bytes()
    )
    read = preprocessing.read(tmp_path / "bundle")
    paths = [key[9:].decode() for key in databases.keys(tmp_path / "test")]
    reading = scoring.load(caffe_pb2.NetParameter(layer=[layer]))
    for start in (0, 5):
        reading.forward()
        for path, expected in zip(paths[start:], reading.blobs["data"].data, strict=False):
            for steps in (made, read):
                found = steps.net_input(steps.image(tmp_path / "photos" / path))
                assert found.dtype == np.float32
                assert found.shape == steps.input_shape
                np.testing.assert_array_equal(found, expected)
    assert np.abs(expected).max() > 0.1


def layer_of(transform: str):
    text = f'name: "data" type: "Data" transform_param {{ {transform} }}'
    return text_format.Parse(text, caffe_pb2.LayerParameter())


@pytest.mark.parametrize(
    ("transform", "complaint"),
    [
        ("mirror: true", "layer 'data' mirrors at random in the TEST phase"),
        ("crop_size: 19", r"crop_size 19, but images are 18x20 \(height x width\)"),
        ("mean_value: 1 mean_value: 2", "2 mean_values for 3 channels; expected one, or one a"),
        ('mean_file: "m" mean_value: 2', "mean_file and mean_value; Caffe subtracts one of them"),
        ('mean_file: "small"', r"the mean is of the shape \(3, 4, 5\), .*\(3, 18, 20\)"),
        ('mean_file: "text"', "text: expected a mean as compute_image_mean writes it"),
    ],
)
def test_what_has_no_one_answer_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, transform: str, complaint: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, shape in (("m", (3, 18, 20)), ("small", (3, 4, 5))):
        Path(name).write_bytes(mean.blob(np.zeros(shape)).SerializeToString())
    Path("text").write_text("no mean")
    with pytest.raises(ToolError, match=complaint):
        preprocessing.of_net(layer_of(transform), MANIFEST)


def test_two_channels_are_refused() -> None:
    with pytest.raises(ToolError, match="2 channels, expected 3"):
        preprocessing.of_net(layer_of(""), {**MANIFEST, "channels": 2})


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"format": 2}, "expected format 1, found 2; a newer version"),
        ({"height": 1e9}, "1000000000.0 is no whole number"),
        ({"height": 10**9}, "height 1000000000, expected 1 to 65536"),
        ({"width": 0}, "width 0, expected 1 to 65536"),
        ({"crop_size": -1}, "crop_size -1, but images are"),
        ({"channels": "CMYK"}, "KeyError"),
        ({"scale": "NaN"}, "mean_value and scale must be finite"),
        ({"scale": 10**400}, "OverflowError"),
        ({"mean_value": [-(10**400)]}, "OverflowError"),
        ({"scale": 1e39}, "must be finite numbers, in float32 too"),
        ({"mean_value": [1, -1e300, 1]}, "must be finite numbers, in float32 too"),
        ({"mean_value": None}, "expected the preprocessing that a bundle is made with"),
        ({"mean_value": [1e400]}, "must be finite"),
        ({"fit": ["warp"]}, "expected warp, crop, pad, short"),
        (None, "expected the preprocessing that a bundle is made with"),
    ],
)
def test_a_file_that_makes_no_sense_is_refused(tmp_path: Path, change, complaint: str) -> None:
    sound = Preprocessing(
        3, 18, 20, crop_size=15, mean_value=(1.0, 2.0, 3.0), scale=0.5, fit="crop"
    )
    preprocessing.write(tmp_path, sound)
    assert preprocessing.read(tmp_path) == sound
    path = tmp_path / "preprocessing.json"
    given = json.loads(path.read_text())
    path.write_text(json.dumps("text" if change is None else {**given, **change}))
    with pytest.raises(ToolError, match=complaint):
        preprocessing.read(tmp_path)


def test_a_file_that_is_no_image_gives_none(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("no image")
    assert Preprocessing(3, 8, 8).image(tmp_path / "a.png") is None


def test_an_image_that_would_fill_a_memory_or_is_half_a_one_gives_none(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (90, 90, 3), dtype=np.uint8)
    photograph = cv2.imencode(".jpg", noise)[1].tobytes()
    for name, content, fit in [
        ("large.png", cv2.imencode(".png", np.zeros((14_000, 13_000), np.uint8))[1], "warp"),
        ("line.png", cv2.imencode(".png", np.zeros((1, 60_000), np.uint8))[1], "crop"),
        ("half.jpg", photograph[: len(photograph) // 2], "warp"),
    ]:
        (tmp_path / name).write_bytes(bytes(content))
        assert Preprocessing(3, 256, 256, fit=fit).image(tmp_path / name) is None, name


def test_the_classifier_is_told_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """caffe.Classifier's own preprocessing gives the input, but for the rounding of its scales."""
    monkeypatch.chdir(tmp_path)
    bundles.write(tmp_path)
    net = prototxt.read_net(tmp_path / "train_val.prototxt")
    layer = scoring.data_layer_on(prototxt.phase_view(net, prototxt.TEST), tmp_path / "test")
    steps = preprocessing.of_net(layer, MANIFEST)
    classifier = caffe.Classifier("deploy.prototxt", "net.caffemodel", **steps.classifier_options())
    path = sorted((tmp_path / "photos").rglob("*.png"))[0]
    image = steps.image(path)
    given = steps.classifier_image(image)
    assert given.min() >= 0
    assert given.max() <= 1
    middle = given[1:16, 2:17]
    found = classifier.transformer.preprocess("data", middle)
    np.testing.assert_allclose(found, steps.net_input(image), atol=1e-5)
