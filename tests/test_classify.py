"""classify: the scores of images, folders and arrays, here and on BVLC's build."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from bvlc import Build
from programs import assert_mistake, assert_mistake_within, program

import caffe

NET = """
layer { name: "data" type: "Input" top: "data"
  input_param { shape { dim: 2 dim: 3 dim: 8 dim: 9 } } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
  inner_product_param { num_output: 4 weight_filler { type: "gaussian" std: 0.0005 } } }
layer { name: "prob" type: "Softmax" bottom: "ip" top: "prob" }
"""
MODEL = ("--model_def", "deploy.prototxt", "-pretrained_model=net.caffemodel")
SMALL = (*MODEL, "--images_dim", "10,12")
NAMES = ["cat", "dog", "fish", "bird"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a net, weights, images, a mean in two forms and names."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "deploy.prototxt").write_text(NET)
    caffe.set_random_seed(3)
    caffe.Net("deploy.prototxt", caffe.TEST).save("net.caffemodel")
    random = np.random.default_rng(4)
    (tmp_path / "images").mkdir()
    for name in ("b.png", "a.png", "c d.png"):
        image = np.zeros((30, 20, 3), np.uint8) + random.integers(0, 256, (1, 20, 3), np.uint8)
        cv2.imwrite(str(tmp_path / "images" / name), image)
    np.save("images.npy", np.stack([caffe.io.load_image(str(file)) for file in files(tmp_path)]))
    mean = random.uniform(90, 130, (3, 8, 9)).astype("f")
    np.save("mean.npy", mean)
    (tmp_path / "mean.binaryproto").write_bytes(
        caffe.io.array_to_blobproto(mean[None]).SerializeToString()
    )
    (tmp_path / "names").write_text("\n".join(NAMES) + "\n")
    return tmp_path


def files(folder: Path) -> list[Path]:
    return sorted((folder / "images").iterdir())


def expected(folder: Path, oversample: bool = True, **settings) -> np.ndarray:
    net = caffe.Classifier(
        "deploy.prototxt", "net.caffemodel", image_dims=(10, 12), raw_scale=255,
        channel_swap=(2, 1, 0), **settings,
    )  # fmt: skip
    images = [caffe.io.load_image(str(file)) for file in files(folder)]
    scores = net.predict(images, oversample)
    assert np.ptp(scores, axis=0).min() > 1e-3  # the images are told apart
    return scores


def scores(done, path: str = "out.npy") -> np.ndarray:
    assert done.returncode == 0, done.stderr
    found = np.load(path)
    assert found.dtype == np.float32
    return found


def test_a_folder_an_array_and_an_image(here: Path) -> None:
    wanted = expected(here)
    found = scores(program(here, "classify", *SMALL, "images", "out.npy", "--ext", "png"))
    np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(
        scores(program(here, "classify", *SMALL, "images.npy", "out.npy")), wanted
    )
    one = scores(program(here, "classify", *SMALL, "images/b.png", "new/out.npy"), "new/out.npy")
    np.testing.assert_allclose(one, wanted[1:2], rtol=1e-6)


def test_flags_reach_the_classifier(here: Path) -> None:
    mean = np.load("mean.npy")
    wanted = expected(here, oversample=False, mean=mean, input_scale=0.5)
    assert np.abs(wanted - expected(here)).max() > 1e-3
    for path in ("mean.npy", "mean.binaryproto"):
        flags = ("--mean_file", path, "-input_scale", "0.5", "-center_only")
        found = scores(program(here, "classify", *SMALL, *flags, "images.npy", "out.npy"))
        np.testing.assert_allclose(found, wanted, rtol=1e-6)
    rgb = ("-channel_swap", "0,1,2", "--raw_scale=1")
    found = scores(program(here, "classify", *SMALL, *rgb, "images.npy", "out.npy"))
    assert np.abs(found - expected(here)).max() > 1e-3


def test_the_best_classes_are_printed_by_name(here: Path) -> None:
    run = (*SMALL, "images", "out.npy", "-ext=png", "-labels_file=names", "-top", "2")
    done = program(here, "classify", *run)
    found, lines = scores(done), done.stdout.splitlines()
    assert lines[::3] == [f"images/{name}" for name in ("a.png", "b.png", "c d.png")]
    for index, row in enumerate(found):
        best = np.argsort(-row)[:2]
        assert [line.split()[1] for line in lines[3 * index + 1 : 3 * index + 3]] == [
            NAMES[label] for label in best
        ]
        assert float(lines[3 * index + 1].split()[0]) == pytest.approx(row.max(), abs=1e-4)


def test_many_images_are_taken_in_parts(here: Path) -> None:
    many = np.random.default_rng(0).random((70, 10, 12, 3), np.float32)
    np.save("many.npy", many)
    found = scores(program(here, "classify", *SMALL, "many.npy", "out.npy"))
    net = caffe.Classifier(
        "deploy.prototxt", "net.caffemodel", (10, 12), raw_scale=255, channel_swap=(2, 1, 0)
    )
    np.testing.assert_allclose(found, net.predict(list(many)), rtol=1e-5)


@pytest.mark.oracle
@pytest.mark.parametrize("flags", [(), ("--mean_file=mean.npy", "-center_only")])
def test_bvlcs_build_gives_the_same_scores(bvlc: Build, here: Path, flags: tuple[str, ...]) -> None:
    run = ("classify", *SMALL, *flags, "images.npy", "out.npy")
    mine = scores(program(here, *run))
    names = ("deploy.prototxt", "net.caffemodel", "images.npy", "mean.npy")
    with bvlc.workplace({name: here / name for name in names}) as place:
        place.module("caffetools.programs", *run)
        theirs = np.load(place.path / "out.npy")
    np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("run", "words"),
    [
        ((*MODEL, "none.jpg", "o.npy"), "none.jpg: no such image"),
        ((*MODEL, "images", "o.npy"), "images: no images *.jpg in it"),
        ((*MODEL, "names", "o.npy"), "names: not an image that can be read"),
        ((*MODEL, "mean.npy", "o.npy"), "found the shape (3, 8, 9)"),
        ((*MODEL, "object.npy", "o.npy"), "object.npy: expected an array"),
        (("-model_def", "deploy.prototxt", "images.npy", "o.npy"), "-pretrained_model"),
        ((*MODEL, "-mean_file=none", "images.npy", "o.npy"), "none: no such mean file"),
        ((*MODEL, "-mean_file=names", "images.npy", "o.npy"), "names: expected a mean"),
        ((*MODEL, "-mean_file=two.npy", "images.npy", "o.npy"), "the mean 2 values"),
        ((*MODEL, "-images_dim=ten", "images.npy", "o.npy"), "-images_dim ten: expected whole"),
        ((*MODEL, "-images_dim=5,5", "images.npy", "o.npy"), "no crops of 8 x 9"),
        ((*MODEL, "-channel_swap=2,1", "images.npy", "o.npy"), "an order of 3 channels"),
        ((*MODEL, "-labels_file=two", "images.npy", "o.npy"), "each of the 4 classes, found 2"),
        ((*MODEL, "-top=0", "images.npy", "o.npy"), "expected at least 1"),
    ],
    ids=str,
)
def test_mistakes(here: Path, run: tuple[str, ...], words: str) -> None:
    np.save("object.npy", np.array([{"a": 1}], object), allow_pickle=True)
    np.save("two.npy", np.zeros(2, "f"))
    (here / "two").write_text("a\nb\n")
    assert_mistake_within(here, words, "classify", *run)
    assert not (here / "o.npy").exists()


def test_a_mistake_is_one_line(here: Path) -> None:
    assert_mistake(program(here, "classify", *MODEL, "none.jpg", "o.npy"), "no such image")


def test_a_traceback_is_there_for_the_asking(here: Path) -> None:
    done = program(here, "classify", *MODEL, "none.jpg", "o.npy", "-debug")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
