"""Classifying with a bundle: table and page, unreadable images, names of all kinds."""

from __future__ import annotations

import csv
import os
import shutil
from pathlib import Path

import bundles
import cv2
import numpy as np
import pytest
from bvlc import Build
from html_page import Page

import caffe
from caffetools.bundle import classify, make, preprocessing
from caffetools.cli import ToolError


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        make.main(bundles.write(folder).arguments())
    return folder / "bundle"


@pytest.fixture
def here(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the bundle, images in it and below, and files that are none."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(bundle, "bundle")
    bundles.write_images(tmp_path / "new", 7)
    (tmp_path / "new" / "bee" / "broken<i>.PNG").write_text("no image")
    (tmp_path / "new" / ".hidden").mkdir()
    (tmp_path / "new" / ".hidden" / "a.png").write_text("no image")
    (tmp_path / "new" / "notes.txt").write_text("no image")
    return tmp_path


def run(*images: str, **more: object) -> list[dict[str, str]]:
    """The table's rows."""
    options = [word for name, value in more.items() for word in (f"--{name}", str(value))]
    classify.main(["--bundle", "bundle", *images, "--table", "out.csv", *options])
    with Path("out.csv").open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def probabilities(path: Path) -> np.ndarray:
    """By the deploy net itself, from the file."""
    steps = preprocessing.read(Path("bundle"))
    image = cv2.resize(cv2.imread(str(path)), (20, 18)).astype(np.float32).transpose(2, 0, 1)
    whole = caffe.io.blobproto_to_array(
        caffe.proto.caffe_pb2.BlobProto.FromString(Path("bundle/mean.binaryproto").read_bytes())
    )[0]
    net = caffe.Net("bundle/deploy.prototxt", "bundle/weights.caffemodel", caffe.TEST)
    given = ((image - whole) * steps.scale)[None, :, 1:16, 2:17]
    return np.array(net.forward(data=given)["prob"][0])


def test_the_table_has_what_the_net_says(here: Path) -> None:
    rows = run("new", top=2)
    assert [row["image"] for row in rows] == sorted(
        str(path.relative_to(here)) for path in (here / "new").rglob("*.[pP]*")
        if ".hidden" not in path.parts
    )  # fmt: skip
    assert list(rows[0]) == [
        "image", "problem", "class_1", "probability_1", "class_2", "probability_2",
    ]  # fmt: skip
    broken = [row for row in rows if row["problem"]]
    assert [row["image"] for row in broken] == ["new/bee/broken<i>.PNG"]
    assert broken[0]["problem"] == classify.UNREADABLE
    assert broken[0]["class_1"] == broken[0]["probability_1"] == ""
    for row in rows:
        if row not in broken:
            expected = probabilities(here / row["image"])
            order = np.argsort(-expected)[:2]
            assert [row["class_1"], row["class_2"]] == [bundles.CLASSES[i] for i in order]
            found = [float(row["probability_1"]), float(row["probability_2"])]
            np.testing.assert_allclose(found, expected[order], atol=2e-6)


def test_the_mean_over_ten_crops_is_another(here: Path) -> None:
    image = sorted((here / "new").rglob("*.png"))[-1]
    (one,) = run(str(image))
    classify.main(["--bundle", "bundle", str(image), "--table", "ten.csv", "--oversample"])
    with Path("ten.csv").open(newline="") as stream:
        (ten,) = csv.DictReader(stream)
    steps = preprocessing.read(Path("bundle"))
    net = caffe.Net("bundle/deploy.prototxt", "bundle/weights.caffemodel", caffe.TEST)
    whole = cv2.resize(cv2.imread(str(image)), (20, 18)).astype(np.float32)
    crops = caffe.io.oversample([whole], (15, 15)).transpose(0, 3, 1, 2)
    # Ten crops of the image, each less the middle of the mean, as caffe.Classifier has it.
    given = (crops - steps.mean) * np.float32(steps.scale)
    expected = net.forward_all(data=given)["prob"].mean(axis=0)
    assert ten["class_1"] == bundles.CLASSES[int(expected.argmax())]
    assert float(ten["probability_1"]) == pytest.approx(expected.max(), abs=2e-6)
    assert abs(float(ten["probability_1"]) - float(one["probability_1"])) > 1e-4


def test_the_page_is_whole_offline_and_escaped(here: Path) -> None:
    run("new", html="out.html", top=3)
    text = Path("out.html").read_text(encoding="utf-8")
    page = Page(text)
    assert all(address.startswith("data:image/jpeg;base64,") for address in page.addresses)
    assert page.tags.count("img") == 7
    assert "8 images, 1 of them unreadable" in page.text
    assert "new/bee/broken<i>.PNG" in page.text
    assert classify.UNREADABLE in page.text
    assert "<b>&" in page.text
    assert "b" not in page.tags
    assert "i" not in page.tags
    assert page.tags.count("tr") == 7 * 3
    run("new", html="again.html", top=3)
    assert Path("again.html").read_text(encoding="utf-8") == text


@pytest.mark.parametrize(
    ("top", "told"),
    [(1, "most probable class"), (2, "2 most probable classes"), (5, "3 most probable classes")],
)
def test_the_page_tells_how_many_classes_it_shows(here: Path, top: int, told: str) -> None:
    run("new", html="out.html", top=top)
    text = Page(Path("out.html").read_text(encoding="utf-8")).text
    assert told in text
    assert "5 most" not in text


def test_names_that_are_no_text_are_told(here: Path) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    (here / "new" / name).write_bytes((here / "new" / "bee" / "01.png").read_bytes())
    assert "new/caf\\xe9.png" in [row["image"] for row in run("new", html="out.html")]


def test_an_image_named_twice_stands_once(here: Path) -> None:
    assert len(run("new/bee/01.png", "new/bee", "new/bee/01.png")) == 3


def test_links_to_folders_are_not_followed(here: Path) -> None:
    (here / "new" / "loop").symlink_to(here / "new")
    assert len(run("new")) == 8


def test_all_unreadable_is_no_mistake(here: Path) -> None:
    (row,) = run("new/notes.txt")
    assert row["problem"] == classify.UNREADABLE


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["absent"], "absent: expected an image or a folder of images, found nothing"),
        (["empty"], "empty: expected images in this folder, found none"),
        (["new", "--top", "0"], "--top: expected at least 1, found 0"),
        (["new", "--bundle", "new"], "new: expected a bundle, found no SHA256SUMS in it"),
    ],
)
def test_mistakes_are_told(here: Path, arguments: list[str], complaint: str) -> None:
    (here / "empty").mkdir()
    with pytest.raises(ToolError, match=complaint):
        run(*arguments)
    assert not Path("out.csv").exists()


def test_somewhere_to_write_is_needed(here: Path) -> None:
    with pytest.raises(ToolError, match="expected --table or --html, found neither"):
        classify.main(["--bundle", "bundle", "new"])


def test_a_changed_bundle_answers_nothing(here: Path) -> None:
    weights = here / "bundle" / "weights.caffemodel"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(ToolError, match=r"weights.caffemodel: expected the SHA-256"):
        run("new")


@pytest.mark.oracle
def test_bvlcs_build_answers_alike(bvlc: Build, here: Path) -> None:
    ours = run("new", top=3)
    with bvlc.workplace({"bundle": here / "bundle", "new": here / "new"}) as place:
        place.module(
            "caffetools.bundle.classify", "--bundle", "bundle", "new", "--table", "out.csv",
            "--top", "3",
        )  # fmt: skip
        theirs = list(csv.DictReader((place.path / "out.csv").read_text().splitlines()))
    assert [row["image"] for row in theirs] == [row["image"] for row in ours]
    assert [row["problem"] for row in theirs] == [row["problem"] for row in ours]
    for ours_of, theirs_of in zip(ours, theirs, strict=True):
        for rank in "123":
            assert ours_of[f"class_{rank}"] == theirs_of[f"class_{rank}"]
            if not ours_of["problem"]:
                found = float(theirs_of[f"probability_{rank}"])
                assert found == pytest.approx(float(ours_of[f"probability_{rank}"]), abs=2e-6)
