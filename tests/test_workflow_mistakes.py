"""What users of the workflow are told of bad input, and that nothing else is lost by it."""

from __future__ import annotations

import csv
import hashlib
import shutil
from pathlib import Path

import pytest
import torch
from miniature import Miniature, fresh, write_photos

from caffetools.history import read_rows

pytestmark = pytest.mark.slow
WEIGHTS = "results/bars/experiments/scratch/seed0/final.caffemodel"


@pytest.fixture(scope="module")
def started(tmp_path_factory) -> Miniature:
    """One experiment from no weights, with one seed, run to its end."""
    miniature = Miniature(tmp_path_factory.mktemp("mistakes") / "started")
    miniature.config["experiments"] = {"scratch": miniature.config["experiments"]["scratch"]}
    miniature.config["seeds"] = [0]
    miniature.run()
    return miniature


@pytest.fixture
def copied(started, tmp_path) -> Miniature:
    return started.copy(tmp_path / "copied")


@pytest.fixture
def bare(tmp_path) -> Miniature:
    """Nothing made yet."""
    return Miniature(tmp_path / "bare")


def add_tuned(miniature: Miniature, **changes: object) -> None:
    """Add an experiment that starts from pretrained weights."""
    row = fresh(miniature.config["experiments"]["scratch"])
    del row["pretrained"]
    miniature.config["experiments"]["tuned"] = {**row, **changes}


def failure(miniature: Miniature, *options: str) -> str:
    """What Snakemake says of a run that must fail, which is no traceback."""
    done = miniature.snakemake(*options)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    return done.stderr


def weights_of(miniature: Miniature) -> bytes:
    return miniature.path("experiments/scratch/seed0/final.caffemodel").read_bytes()


# --- images ---------------------------------------------------------------------------


def test_unreadable_images_are_named_and_the_rest_goes_on(copied):
    photos = copied.folder / "photos"
    whole = (photos / "low" / "001.png").read_bytes()
    (photos / "low" / "cut.png").write_bytes(whole[:60])
    (photos / "low" / "text.jpg").write_text("not an image")
    (photos / "high" / "gone.png").symlink_to("nowhere.png")
    copied.run("--", "results/bars/lmdb/train.json")
    with copied.path("dataset/manifest.csv").open() as stream:
        dropped = {row["path"]: row["dropped"] for row in csv.DictReader(stream) if row["dropped"]}
    assert set(dropped) == {"low/cut.png", "low/text.jpg", "high/gone.png"}
    log = copied.log("dataset")
    for path in dropped:
        assert path in log


def test_an_empty_class_folder_is_named(copied):
    (copied.folder / "photos" / "empty").mkdir()
    kept = weights_of(copied)
    said = failure(copied)
    assert "expected images of class 'empty', found none" in said
    assert "remove the folder" in copied.log("dataset")
    assert weights_of(copied) == kept
    (copied.folder / "photos" / "empty").rmdir()
    copied.run("results/bars/dataset/summary.json")


def test_one_class_is_too_few(copied):
    shutil.rmtree(copied.folder / "photos")
    write_photos(copied.folder / "photos", ["only"])
    assert "expected at least two classes, found one, 'only'" in failure(copied)


def test_images_without_class_folders_are_too_few_classes(copied):
    photos = copied.folder / "photos"
    for image in sorted(photos.rglob("*.png")):
        image.rename(photos / f"{image.parent.name}{image.name}")
    for folder in photos.iterdir():
        if folder.is_dir():
            folder.rmdir()
    assert "found no sub-folder and 36 images" in failure(copied)


def test_a_missing_source_folder_is_named(bare):
    bare.config["dataset"]["source"] = "fotos"
    said = failure(bare)
    assert "dataset.source: there is no folder fotos" in said


def test_more_images_than_there_are_is_told_by_class(copied):
    copied.config["dataset"]["split"]["train"] = 50
    assert "class 'high': asked for train 50" in failure(copied)


# --- configuration --------------------------------------------------------------------


def test_a_misspelt_key_stops_everything_at_once(bare):
    bare.config["experiments"]["tuned"]["head_lr_mul"] = 10
    said = failure(bare)
    assert "experiments.tuned: unknown key 'head_lr_mul'; did you mean 'head_lr_mult'?" in said
    assert not (bare.folder / "results").exists()


def test_two_data_sets_of_one_name_stop_everything_at_once(bare):
    bare.config["dataset"]["name"] = "letters"
    assert "their results need two names" in failure(bare)


def test_a_missing_model_is_named(bare):
    bare.config["model"]["train_val"] = "config/models/lenet/trainval.prototxt"
    assert "config/models/lenet/trainval.prototxt" in failure(bare)


def test_an_unknown_solver_field_is_suggested_another(copied):
    copied.config["experiments"]["scratch"]["solver"]["base_rl"] = 0.1
    assert "solver.base_rl is no scalar field of Caffe's solver; did you mean 'base_lr'" in failure(
        copied
    )


def test_a_number_that_yaml_reads_as_text_is_told_so(copied):
    copied.config["experiments"]["scratch"]["solver"]["base_lr"] = "1e-3"
    assert "solver.base_lr is '1e-3'; expected a number (in YAML 1.0e-3" in failure(copied)


def test_a_head_named_like_a_layer_fails_alone(copied):
    add_tuned(copied, pretrained=False, new_head="conv1")
    kept = weights_of(copied)
    said = failure(copied, "--keep-going")
    assert "the new head's name 'conv1' is that of a layer of the net" in said
    assert weights_of(copied) == kept
    assert copied.path("plots/scratch.confusion.png").exists()
    copied.config["experiments"]["tuned"]["new_head"] = "another"
    copied.run("results/bars/experiments/tuned/seed0/train_val.prototxt")


# --- weights --------------------------------------------------------------------------


def fetched(path: Path) -> dict[str, str]:
    return {"url": path.as_uri(), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def test_weights_by_address_are_fetched_and_used(copied, tmp_path):
    path = tmp_path / "published.caffemodel"
    path.write_bytes(weights_of(copied))
    add_tuned(copied)
    copied.config["pretrained"] = fetched(path)
    copied.run("results/bars/plots/tuned.kernels.png")
    assert copied.path("pretrained.caffemodel").read_bytes() == path.read_bytes()
    # They were trained on the same images, so that six steps more end lower.
    tuned, scratch = (
        read_rows(copied.path(f"experiments/{name}/seed0/history.csv"))
        for name in ("tuned", "scratch")
    )
    assert tuned[1].loss < scratch[-1].loss + 0.1
    assert tuned[-1].test_loss < scratch[-1].test_loss


def test_weights_of_another_checksum_are_refused(copied, tmp_path):
    path = tmp_path / "published.caffemodel"
    path.write_bytes(weights_of(copied))
    add_tuned(copied)
    copied.config["pretrained"] = {**fetched(path), "sha256": "0" * 64}
    assert f"expected {'0' * 64}" in failure(copied)
    assert not copied.path("pretrained.caffemodel").exists()


@pytest.mark.parametrize("length", [3000, 0])
def test_truncated_weights_are_told_so(copied, tmp_path, length):
    path = tmp_path / "published.caffemodel"
    path.write_bytes(weights_of(copied)[:length])
    add_tuned(copied)
    copied.config["pretrained"] = fetched(path)
    kept = weights_of(copied)
    said = failure(copied, "--keep-going")
    assert "results/bars/pretrained.caffemodel: expected a .caffemodel" in said
    assert "results/bars/pretrained.caffemodel" in copied.log("gray_weights")
    assert weights_of(copied) == kept


def test_weights_for_gray_images_are_refused_for_colour(copied, tmp_path):
    path = tmp_path / "published.caffemodel"
    path.write_bytes(weights_of(copied))
    add_tuned(copied, new_head="ip2_colour")
    copied.config["pretrained"] = fetched(path)
    copied.config["dataset"]["image"]["gray"] = False
    said = failure(copied, "results/bars/experiments/tuned/seed0/final.caffemodel")
    assert "layer 'conv1': the weights have kernels of 1 channel, and the images have 3" in said


def test_epochs_are_told_how_they_are_written(bare):
    bare.config["experiments"]["tuned"]["solver"]["max_iter"] = {"epoch": 3}
    said = failure(bare)
    assert "tuned.solver.max_iter: unknown key 'epoch'; did you mean 'epochs'?" in said


# --- device ---------------------------------------------------------------------------


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_told_so(copied):
    copied.config["training"] = {"gpu": True}
    said = failure(copied)
    assert "GPU 0 was asked for, but torch" in said
    # Before it stands which GPU was to be taken.
    assert [line.split(":")[0] for line in copied.log("train.scratch.0").splitlines()] == [
        *("on GPU 0 (0)", "error"),
    ]


# --- before a training ----------------------------------------------------------------


def test_an_error_that_the_preflight_finds_stops_the_run_before_training(copied):
    kept = weights_of(copied)
    copied.config["experiments"]["scratch"]["solver"]["momentum"] = 1.0
    said = failure(copied)
    assert "momentum is 1, expected from 0 to below 1" in said
    assert "rule train" not in said
    assert weights_of(copied) == kept
    copied.config["preflight"] = {"accept": ["solver"]}
    assert "rule train" in copied.run("--", WEIGHTS)


def test_the_preflight_of_all_experiments_trains_nothing(bare):
    bare.config["experiments"] = {"scratch": bare.config["experiments"]["scratch"]}
    done = bare.snakemake("preflight_all")
    assert done.returncode == 0
    assert bare.path("experiments/scratch/preflight.json").exists()
    assert not bare.path("experiments/scratch/seed0/final.caffemodel").exists()
