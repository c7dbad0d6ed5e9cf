"""Data sets of other forms in the workflow: lists, tables, groups, folds, fits and encodings."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from miniature import Miniature

from caffe.proto import caffe_pb2
from caffetools import databases

pytestmark = pytest.mark.slow

LMDBS = [f"results/bars/lmdb/{split}.json" for split in ("train", "val", "test")]
SUMMARY = "results/bars/dataset/summary.json"


@pytest.fixture
def miniature(tmp_path: Path) -> Miniature:
    return Miniature(tmp_path / "work")


def photos(miniature: Miniature) -> list[tuple[str, int]]:
    """Every image and its label, by name."""
    folder = miniature.folder / "photos"
    classes = sorted(path.name for path in folder.iterdir())
    return [
        (f"{name}/{path.name}", label)
        for label, name in enumerate(classes)
        for path in sorted((folder / name).iterdir())
    ]


def write_list(path: Path, images: list[tuple[str, int]]) -> None:
    path.write_text("".join(f"{name} {label}\n" for name, label in images))


def facts(miniature: Miniature, target: str = SUMMARY) -> dict:
    return json.loads((miniature.folder / target).read_text())


def test_lists_with_splits_and_images_that_are_cropped_and_encoded(miniature):
    images = photos(miniature)
    write_list(miniature.folder / "train.txt", images[::2])
    write_list(miniature.folder / "test.txt", images[1::2])
    (miniature.folder / "names.txt").write_text("up\ndown\nbetween\n")
    miniature.config["dataset"] |= {
        "lists": {"train": "train.txt", "val": "test.txt", "test": "test.txt"},
        "names": "names.txt",
        "image": {"width": 20, "height": 28, "gray": True, "fit": "crop", "encode": "png"},
    }
    miniature.run(*LMDBS)
    assert facts(miniature)["classes"] == ["up", "down", "between"]
    assert facts(miniature)["totals"]["val"] == len(images[1::2])
    database = miniature.folder / "results/bars/lmdb/test"
    (first, *_) = databases.records(database)
    assert first[0].decode() == f"00000000_{images[1][0]}"
    datum = caffe_pb2.Datum.FromString(first[1])
    assert datum.encoded
    stored = cv2.imdecode(np.frombuffer(datum.data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert stored.shape == (28, 20)
    assert miniature.planned(*LMDBS) == {}
    # A listed image that is replaced counts, one that no list names does not.
    image = np.full((12, 12), 9, np.uint8)
    cv2.imwrite(str(miniature.folder / "photos" / "unlisted.png"), image)
    assert miniature.planned(*LMDBS) == {}
    cv2.imwrite(str(miniature.folder / "photos" / images[0][0]), image)
    assert set(miniature.planned(*LMDBS)) == {"dataset", "lmdb"}


def test_a_table_with_groups_and_a_maximum(miniature):
    with (miniature.folder / "table.csv").open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["path", "class", "group"])
        table.writerows((path, path[:3], i % 9) for i, (path, _) in enumerate(photos(miniature)))
    miniature.config["dataset"] |= {"index": "table.csv", "max_per_class": 9, "strict": True}
    miniature.config["dataset"]["split"] = {"train": 0.6, "val": 0.2, "test": "rest"}
    miniature.run(SUMMARY)
    assert facts(miniature)["groups"] == 9
    assert sum(facts(miniature)["totals"].values()) == 27
    # Another line in the table makes the data set anew.
    with (miniature.folder / "table.csv").open("a") as stream:
        stream.write(f"{photos(miniature)[0][0]},hig,0\r\n")
    assert set(miniature.planned(SUMMARY)) == {"dataset"}


def test_a_bundle_fits_images_as_those_that_were_trained_on(miniature):
    miniature.config["dataset"]["image"] |= {
        "height": 24,
        "width": 20,
        "fit": "crop",
        "encode": "jpg",
    }
    bundle = "results/bars/experiments/scratch/bundle"
    miniature.run(f"{bundle}/parity.json", f"{bundle}/preprocessing.json")
    assert facts(miniature, f"{bundle}/preprocessing.json")["fit"] == "crop"


def test_every_fold_has_a_test_of_its_own(miniature):
    tested = []
    miniature.config["dataset"]["split"] = {"val": 0, "folds": 3, "fold": 0}
    for fold in range(3):
        told = f"dataset={{name: bars{fold}, split: {{fold: {fold}}}}}"
        miniature.run(f"results/bars{fold}/dataset/summary.json", "--config", told)
        results = miniature.folder / f"results/bars{fold}"
        tested += (results / "dataset" / "test.txt").read_text().splitlines()
    assert sorted(tested) == sorted(f"{path} {label}" for path, label in photos(miniature))


def test_groups_by_a_pattern(miniature):
    miniature.config["dataset"]["split"] = {
        "train": 0.6, "val": 0.2, "test": "rest", "group": r"(\d)\.png$",
    }  # fmt: skip
    miniature.run(SUMMARY)
    assert facts(miniature)["groups"] == 10


@pytest.mark.parametrize(
    ("dataset", "words"),
    [
        ({"lists": "none.txt"}, "config: dataset: there is no file none.txt"),
        ({"index": "none.csv"}, "config: dataset: there is no file none.csv"),
        ({"lists": {"dev": "a"}}, "dev"),
        ({"image": {"fit": "stretch"}}, "stretch"),
        ({"max_pixels": 10**9}, "max_pixels"),
    ],
)
def test_mistakes(miniature, dataset, words):
    miniature.config["dataset"] |= dataset
    done = miniature.snakemake("--dry-run")
    assert done.returncode
    assert words in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
