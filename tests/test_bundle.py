"""Bundles: what is in one, and the parity test that stands before it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import bundles
import cv2
import numpy as np
import pytest
from bvlc import Build

from caffe.proto import caffe_pb2
from caffetools import databases, prototxt
from caffetools.bundle import contents, make, parity, preprocessing
from caffetools.bundle.preprocessing import Preprocessing
from caffetools.cli import ToolError

READERS = ["OpenCV", "caffe.Classifier", "onnxruntime"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def made(folder: Path, *more: str, **settings) -> dict:
    """Make a bundle; what its parity test said."""
    make.main(bundles.write(folder, **settings).arguments(*more))
    return json.loads((folder / "bundle" / contents.PARITY).read_text())


# -- what is in one ---------------------------------------------------------------------------

TRANSFORMS = {
    "mean file and crop": bundles.TRANSFORM,
    "mean values": "mean_value: 90 mean_value: 100 mean_value: 110.5 scale: 0.017",
    "one mean value": "mean_value: 100 crop_size: 16 scale: 0.03",
    "scale alone": "scale: 0.00390625",
    "nothing": "",
}


@pytest.mark.parametrize("transform", TRANSFORMS.values(), ids=TRANSFORMS)
def test_all_readers_give_the_same(here: Path, transform: str) -> None:
    found = made(here, transform=transform)
    assert sorted(found["readers"]) == READERS
    assert found["images"] == 12
    assert found["largest_difference_between_images"] > 0.01
    for reader in found["readers"].values():
        assert reader["same_best_class"] == 12
        assert 0 <= reader["largest_difference"] < 2e-6


@pytest.mark.parametrize("fit", ["crop", "pad", "short"])
@pytest.mark.parametrize("encode", [[], ["--encode", "jpg"], ["--encode", "png"]])
def test_images_that_were_fitted_and_encoded_in_other_ways(
    here: Path, fit: str, encode: list[str]
) -> None:
    """Of 30 x 26 pixels cover and inside are not 18 x 20; 20 - 15 is odd, so that halves count."""
    transform = "mean_value: 90 crop_size: 15 scale: 0.02"
    found = made(here, transform=transform, converted=("--fit", fit, *encode))
    for reader in found["readers"].values():
        assert reader["same_best_class"] == 12
        assert 0 <= reader["largest_difference"] < 2e-6
    assert json.loads(Path("bundle/preprocessing.json").read_text())["fit"] == fit


def test_gray_images_too(here: Path) -> None:
    found = made(here, transform="crop_size: 15 scale: 0.01", gray=True)
    assert all(reader["same_best_class"] == 12 for reader in found["readers"].values())
    assert json.loads(Path("bundle/preprocessing.json").read_text())["channels"] == "gray"


def test_its_files_are_these_and_sha256sum_agrees(here: Path) -> None:
    (here / "solver.prototxt").write_text('net: "/somewhere/net" base_lr: 0.5 type: "Adam"')
    (here / "evaluation.json").write_text('{"accuracy": 0.75, "entries": 12, "per_class": []}')
    made(
        here, "--solver", "solver.prototxt", "--evaluation", "evaluation.json",
        "--settings", '{"head": "ip", "freeze": ["conv"]}', "--pretrained", "net.caffemodel",
    )  # fmt: skip
    bundle = here / "bundle"
    assert sorted(path.name for path in bundle.iterdir()) == sorted(contents.FILES)
    subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=bundle, check=True)
    contents.verify(bundle)
    for name, original in (
        (contents.DEPLOY, "deploy.prototxt"), (contents.WEIGHTS, "net.caffemodel"),
        (contents.LABELS, "classes.txt"), (contents.MEAN, "mean.binaryproto"),
    ):  # fmt: skip
        assert (bundle / name).read_bytes() == (here / original).read_bytes()
    told = json.loads((bundle / contents.PROVENANCE).read_text())
    assert told["evaluation"] == {"accuracy": 0.75, "entries": 12}
    assert told["settings"] == {"head": "ip", "freeze": ["conv"]}
    assert told["solver"] == {"base_lr": 0.5, "type": "Adam"}
    assert told["sha256"]["pretrained_weights"] == told["sha256"]["weights"]
    assert told["versions"]["opencv"] == cv2.__version__
    assert told["test_lmdb"]["entries"] == 12
    for path in bundle.iterdir():
        assert str(here).encode() not in path.read_bytes()


def test_no_place_of_the_machine_is_told(here: Path) -> None:
    """Neither in the solver nor in the settings, whatever field names it."""
    places = {
        name: f"/somewhere/{name}"
        for name in ("train_net", "test_net", "weights", "snapshot_prefix")
    }
    fields = "".join(f'{name}: "{place}" ' for name, place in places.items())
    nets = "".join(
        f'{name} {{ layer {{ name: "d" data_param {{ source: "/somewhere/lmdb" }} }} }} '
        for name in ("net_param", "train_net_param", "test_net_param")
    )
    (here / "solver.prototxt").write_text(f'{fields}{nets}net: "/somewhere" base_lr: 0.5')
    of_data = dict.fromkeys(("train_source", "val_source", "mean_file"), "/somewhere")
    settings = {"head": "ip", "solver": {**places, "type": "Adam"}, **of_data}
    made(here, "--solver", "solver.prototxt", "--settings", json.dumps(settings))
    told = json.loads((here / "bundle" / contents.PROVENANCE).read_text())
    assert told["solver"] == {"base_lr": 0.5}
    assert told["settings"] == {"head": "ip", "solver": {"type": "Adam"}}


def test_two_are_the_same_bytes(here: Path) -> None:
    made(here)
    first = {path.name: path.read_bytes() for path in Path("bundle").iterdir()}
    make.main(bundles.Made(here).arguments())
    assert {path.name: path.read_bytes() for path in Path("bundle").iterdir()} == first


def test_images_are_spread_over_the_classes(here: Path) -> None:
    bundles.write(here)
    keys = [key for key, _ in databases.some_records(here / "test", 3)]
    assert [key[len("00000000_") :].split(b"/")[0].decode() for key in keys] == bundles.CLASSES
    assert len(databases.some_records(here / "test", 100)) == 12


def test_a_reader_that_knows_a_layer_not_is_said_to_be_unchecked(here: Path) -> None:
    found = made(here, more=bundles.IM2COL)
    readers = found["readers"]
    assert readers["caffe.Classifier"]["largest_difference"] < 2e-6
    reason = readers["OpenCV"]["not_checked"]  # without the place of OpenCV's own source
    assert re.fullmatch(r"OpenCV [\d.]+ cannot read the net: [^/]*im2col[^/]*", reason), reason
    assert "'im2col' is of type Im2col" in readers["onnxruntime"]["not_checked"]
    assert not Path("bundle/model.onnx").exists()
    contents.verify(Path("bundle"))


def test_a_deploy_net_of_a_fixed_batch_is_asked_by_whole_batches(here: Path) -> None:
    arguments = bundles.write(here).arguments()
    path = here / "deploy.prototxt"
    deploy = prototxt.read_net(path)
    deploy.layer[0].input_param.shape[0].dim[0] = 5  # of which 12 images are no multiple
    named = deploy.layer.add(name="named", type="Reshape", bottom=["ip"], top=["named"])
    named.reshape_param.shape.dim.extend([5, 3])
    (softmax,) = (layer for layer in deploy.layer if layer.type == "Softmax")
    softmax.bottom[:] = ["named"]
    layers = sorted(deploy.layer, key=lambda layer: layer.type == "Softmax")
    path.write_text(prototxt.to_text(caffe_pb2.NetParameter(name="small", layer=layers)))
    make.main(arguments)
    readers = json.loads((here / "bundle" / contents.PARITY).read_text())["readers"]
    for name in ("caffe.Classifier", "onnxruntime"):
        assert readers[name]["same_best_class"] == 12
        assert readers[name]["largest_difference"] < 2e-6


def test_opencv_can_be_left_out(here: Path) -> None:
    found = made(here, "--without-opencv")
    assert found["readers"]["OpenCV"] == {"not_checked": "the configuration says not to"}


def test_a_model_that_onnxruntime_does_not_run_is_not_in_it(here: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    found = made(here)
    assert "the package onnxruntime" in found["readers"]["onnxruntime"]["not_checked"]
    assert not Path("bundle/model.onnx").exists()


# -- the gate ---------------------------------------------------------------------------------


def refused(folder: Path, complaint: str) -> str:
    """Make a bundle, which must not pass; what was said. An older bundle is there before."""
    (folder / "bundle").mkdir()
    (folder / "bundle" / contents.PARITY).write_text("older")
    with pytest.raises(ToolError, match=complaint) as raised:
        made(folder)
    assert not (folder / "bundle").exists()
    assert not list(folder.glob(".*partial"))
    return str(raised.value)


@pytest.mark.parametrize(
    "wrong",
    [
        {"mean_image": np.full((3, *bundles.SIZE), 90, np.float32)},
        {"scale": 0.021},
        {"mean_image": None},
        {"mean_image": None, "mean_value": (60.0, 70.0, 80.0)},
    ],
    ids=["flat mean", "scale", "no mean", "mean values"],
)
def test_another_preprocessing_is_refused(here: Path, monkeypatch, wrong: dict) -> None:
    of_net = preprocessing.of_net

    def other(*given) -> Preprocessing:
        return replace(of_net(*given), **wrong)

    monkeypatch.setattr(preprocessing, "of_net", other)
    if "mean_image" in wrong and wrong["mean_image"] is not None:
        # The file in the bundle is what counts.
        read = preprocessing.read
        monkeypatch.setattr(preprocessing, "read", lambda folder: replace(read(folder), **wrong))
    refused(here, r"parity: image .*: caffe.Classifier is .* from the TEST net")


def test_another_order_of_channels_is_refused(here: Path, monkeypatch) -> None:
    options = Preprocessing.classifier_options
    monkeypatch.setattr(
        Preprocessing, "classifier_options", lambda self: {**options(self), "channel_swap": None}
    )
    said = refused(here, r"parity: image '.*\.png': caffe.Classifier is .* from the TEST net")
    # Of the others one sees that they agree with the reference.
    probabilities = dict(re.findall(r"(the TEST net|\S+) says '.*?' with (\d+\.\d+)", said))
    assert set(probabilities) == {"the TEST net", *READERS}
    others = [float(probabilities[name]) for name in ("the TEST net", "OpenCV", "onnxruntime")]
    assert max(others) - min(others) < 1e-4


def test_another_order_of_channels_for_the_other_readers_is_refused(
    here: Path, monkeypatch
) -> None:
    net_input = Preprocessing.net_input
    monkeypatch.setattr(
        Preprocessing, "net_input", lambda self, image: net_input(self, image)[::-1]
    )
    refused(here, r"parity: image .*: OpenCV is .* from the TEST net")


def test_another_nets_weights_are_refused(here: Path, monkeypatch) -> None:
    copy = make._copy

    def other(folder: Path, *given) -> None:
        copy(folder, *given)
        bundles.write_weights(folder, contents.WEIGHTS, seed=8)

    monkeypatch.setattr(make, "_copy", other)
    refused(here, r"parity: image .*: caffe.Classifier is .* from the TEST net")


def test_another_deploy_net_is_refused(here: Path) -> None:
    arguments = bundles.write(here).arguments()
    deploy = here / "deploy.prototxt"
    deploy.write_text(deploy.read_text().replace("ReLU", "TanH"))
    with pytest.raises(ToolError, match=r"parity: image .* No bundle is written"):
        make.main(arguments)
    assert not (here / "bundle").exists()


LABELS = ["a", "b", "c"]
REFERENCE = np.array([[0.2, 0.5, 0.3], [0.4, 0.4, 0.2]])


def judged(found: np.ndarray) -> dict:
    return parity.judge(REFERENCE, {"it": found}, ["x", "y"], LABELS)["readers"]["it"]


def test_ties_may_be_broken_in_any_way() -> None:
    other = REFERENCE + np.array([[0, 0, 0], [-2e-5, 2e-5, 0]])
    assert judged(other) == {
        "image": "y", "largest_difference": 2e-5, "same_best_class": 1,
    }  # fmt: skip


def test_another_best_class_is_refused_where_it_is_no_tie() -> None:
    near = np.array([[0.2, 0.50014, 0.5], [0.4, 0.4, 0.2]])
    other = near + np.array([[0, -9e-5, 9e-5], [0, 0, 0]])
    with pytest.raises(ToolError, match=r"image 'x': it is 9e-05 from .*'b' .*; it says 'c'"):
        parity.judge(near, {"it": other}, ["x", "y"], LABELS)


@pytest.mark.parametrize("value", [np.nan, 0.5002])
def test_a_difference_or_no_number_is_refused(value: float) -> None:
    other = REFERENCE.copy()
    other[0, 1] = value
    with pytest.raises(ToolError, match=r"parity: image 'x': it is (inf|0.0002) from"):
        judged(other)


def test_another_number_of_classes_is_refused() -> None:
    with pytest.raises(ToolError, match=r"the TEST net gives .*\(2, 3\), it \(2, 2\)"):
        judged(REFERENCE[:, :2])


# -- what goes in -----------------------------------------------------------------------------


def test_an_image_changed_since_is_named(here: Path) -> None:
    arguments = bundles.write(here).arguments()
    path = sorted(Path("photos").rglob("*.png"))[0]
    image = cv2.imread(str(path))
    image[3:9, 3:9] += 30
    cv2.imwrite(str(path), image)
    complaint = re.escape(f"{path}: read and fitted to 20x18 it is not what the LMDB")
    with pytest.raises(ToolError, match=complaint):
        make.main(arguments)


def test_an_image_that_is_gone_is_named(here: Path) -> None:
    arguments = bundles.write(here).arguments()
    path = sorted(Path("photos").rglob("*.png"))[0]
    path.unlink()
    with pytest.raises(ToolError, match=re.escape(f"{path}: expected the image that the LMDB has")):
        make.main(arguments)


def test_an_image_is_not_looked_for_outside_of_the_folder(here: Path) -> None:
    arguments = bundles.write(here).arguments()
    path = sorted(Path("photos").rglob("*.png"))[0]
    path.rename(here / "outside.png")
    path.symlink_to(here / "outside.png")
    with pytest.raises(ToolError, match="expected the image that the LMDB has"):
        make.main(arguments)


def test_what_goes_in_is_not_replaced(here: Path) -> None:
    given = bundles.write(here).arguments()
    make.main(given)
    weights = here / "bundle" / "weights.caffemodel"
    content = weights.read_bytes()
    with pytest.raises(ToolError, match=r"it will be replaced, and .*weights.caffemodel lies in"):
        make.main([*given, "--weights", str(weights)])
    assert weights.read_bytes() == content


def test_a_folder_of_other_things_is_not_replaced(here: Path) -> None:
    arguments = bundles.write(here).arguments()
    (here / "bundle").mkdir()
    (here / "bundle" / "thesis.tex").write_text("years of work")
    with pytest.raises(ToolError, match=r"will not be replaced, since it holds 'thesis.tex'"):
        make.main(arguments)
    assert (here / "bundle" / "thesis.tex").exists()


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        (["--weights", "absent"], "--weights: expected a file absent, found none"),
        (["--images", "absent"], "--images absent: no such folder"),
        (["--count", "0"], "--count: expected at least one image, found 0"),
        (["--settings", "[1]"], r"--settings: expected a JSON object, found \[1\]"),
        (["--settings", "{"], "--settings: expected a JSON object"),
        (["--lmdb", "absent"], "absent.json: expected the manifest of the LMDB"),
        (["--classes", "two.txt"], r"two.txt: expected 3 classes, .* found 2"),
        (["--classes", "latin.txt"], r"latin.txt: expected names in UTF-8"),
        (["--evaluation", "two.txt"], "two.txt: expected JSON of an evaluation"),
        (["--evaluation", "list.json"], r"list.json: expected JSON of an .*found \[1\]"),
        (["--solver", "two.txt"], "two.txt:"),
        (["--deploy", "two.txt"], "two.txt:"),
        (["--weights", "two.txt"], "two.txt:"),
    ],
)
def test_mistakes_are_told_and_leave_an_older_bundle_as_it_is(
    here: Path, more: list[str], complaint: str
) -> None:
    (here / "two.txt").write_text("a\nb\n")
    (here / "latin.txt").write_bytes(b"a\nb\nc\xe9\n")
    (here / "list.json").write_text("[1]")
    (here / "bundle").mkdir()
    (here / "bundle" / contents.PARITY).write_text("older")
    with pytest.raises(ToolError, match=complaint):
        made(here, *more)
    assert [path.name for path in (here / "bundle").iterdir()] == [contents.PARITY]


# -- checksums --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        (contents.LABELS, "x\n", "labels.txt: expected the SHA-256 .* found"),
        (contents.MEAN, None, "mean.binaryproto: expected this file of the bundle, found none"),
        (contents.SUMS, None, "expected a bundle, found no SHA256SUMS in it"),
        (contents.SUMS, "", "SHA256SUMS: expected a line for deploy.prototxt, found none"),
        (contents.SUMS, "0" * 64 + "  ../../etc/passwd\n", "SHA256SUMS:1: expected 64 hexadecimal"),
    ],
)
def test_a_bundle_that_was_changed_is_refused(here: Path, name, text, complaint: str) -> None:
    made(here)
    path = here / "bundle" / name
    path.unlink()
    if text is not None:
        path.write_text(text)
    with pytest.raises(ToolError, match=complaint):
        contents.verify(here / "bundle")


# -- BVLC's build -----------------------------------------------------------------------------


@pytest.mark.oracle
@pytest.mark.parametrize("gray", [False, True])
def test_bvlcs_build_makes_the_same_bundle_but_for_onnx(
    bvlc: Build, here: Path, gray: bool
) -> None:
    ours = made(here, gray=gray)
    files = {path.name: path for path in here.iterdir() if path.name != "bundle"}
    with bvlc.workplace(files) as place:
        place.module("caffetools.bundle.make", *bundles.Made(here).arguments())
        theirs = {path.name: path.read_bytes() for path in (place.path / "bundle").iterdir()}
    assert set(contents.FILES) - set(theirs) == {contents.ONNX}
    for name in (contents.PREPROCESSING, contents.DEPLOY, contents.MEAN, contents.LABELS):
        assert theirs[name] == (here / "bundle" / name).read_bytes()
    found = json.loads(theirs[contents.PARITY])
    assert found["images"] == ours["images"] == 12
    assert "the package onnx is not installed" in found["readers"]["onnxruntime"]["not_checked"]
    for name in ("OpenCV", "caffe.Classifier"):
        assert found["readers"][name]["largest_difference"] < 2e-6
