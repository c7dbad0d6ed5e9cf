"""The configurations of config/examples, run on stand-ins where the real data cannot be had.

What is changed of a file is in :func:`stand_in` alone: the address of the weights, the GPU, and
how many iterations are made.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from miniature import Miniature
from recipes import REPOSITORY

import caffe
from caffe.proto import caffe_pb2
from caffetools import prototxt
from caffetools.config import check_config
from caffetools.plan import Plan
from caffetools.pretrained import nets
from caffetools.weights import read_weights

FOLDER = REPOSITORY / "config" / "examples"
SCHEMA = REPOSITORY / "workflow" / "schemas" / "config.schema.yaml"
EXAMPLES = sorted(path.stem for path in FOLDER.glob("*.yaml"))
FEW = {"max_iter": 1, "test_interval": 1, "snapshot": 1}


def read(name: str) -> Any:
    return yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))


def stand_in(name: str, weights: Path) -> Any:
    """The configuration with weights of this machine, no GPU, and an iteration each."""
    config = read(name)
    config["pretrained"].update(
        url=str(weights), sha256=hashlib.sha256(weights.read_bytes()).hexdigest()
    )
    config["training"]["gpu"] = False
    for experiment in config["experiments"].values():
        experiment["solver"].update(FEW)
    return config


def write_weights(path: Path, name: str) -> Path:
    """Weights as the fillers of a published net draw them, with statistics of random images."""
    published = nets.train_val(name)
    layers = prototxt.phase_view(published, prototxt.TRAIN)
    net = caffe_pb2.NetParameter()
    data = net.layer.add(name="data", type="Input", top=["data", "label"])
    size = layers[0].transform_param.crop_size
    data.input_param.shape.add(dim=[4, 3, size, size])
    data.input_param.shape.add(dim=[4])
    net.layer.extend(layers[1:])
    prototxt.write(path.with_suffix(".prototxt"), net)
    caffe.set_random_seed(1)
    made = caffe.Net(str(path.with_suffix(".prototxt")), caffe.TRAIN)
    made.blobs["data"].data[...] = np.random.default_rng(0).normal(0, 60, (4, 3, size, size))
    made.forward()
    made.save(str(path))
    return path


def write_photos(folder: Path, classes: int, each: int) -> None:
    random = np.random.default_rng(0)
    for label in range(classes):
        (folder / f"class {label}").mkdir(parents=True)
        for number in range(each):
            assert cv2.imwrite(
                str(folder / f"class {label}" / f"{number}.jpg"),
                photo(label, random),
            )


def photo(label: int, random: np.random.Generator) -> np.ndarray:
    image = random.integers(0, 120, (60, 80, 3), dtype=np.uint8)
    image[:, :, label % 3] += 100
    return image


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_valid_and_its_experiments_make_a_plan(name: str) -> None:
    config = read(name)
    check_config(config, SCHEMA)
    from snakemake.utils import validate

    validate(config, str(SCHEMA))
    plan = Plan(config)
    assert plan.experiments == list(config["experiments"])
    for experiment in plan.experiments:
        assert plan.settings(plan.target, experiment, 0)["solver"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "published", "heads"),
    [
        ("own_folder_resnet50", "resnet50", ["fc1000"]),
        ("own_folder_googlenet", "googlenet", [f"loss{n}/classifier" for n in (1, 2, 3)]),
    ],
)
def test_a_folder_of_ones_own(tmp_path: Path, name: str, published: str, heads: list[str]) -> None:
    weights = write_weights(tmp_path / "published.caffemodel", published)
    miniature = Miniature(tmp_path / "run", stand_in(name, weights))
    write_photos(miniature.folder / "path" / "to" / "folder", classes=3, each=10)
    miniature.run(
        "results/photographs/experiments/finetune/seed0/evaluation.json",
        "results/photographs/experiments/finetune/bundle/SHA256SUMS",
    )
    before = read_weights(weights)
    after = read_weights(miniature.path("experiments/finetune/seed0/final.caffemodel"))
    for head in heads:
        assert head not in after
        assert len(after[f"{head}_photographs"][0]) == 3
    bundle = miniature.path("experiments/finetune/bundle")
    parity = json.loads((bundle / "parity.json").read_text())
    assert all("not_checked" not in reader for reader in parity["readers"].values()), parity
    evaluation = miniature.path("experiments/finetune/seed0/evaluation.json")
    judged = json.loads(evaluation.read_text())
    assert judged["entries"] == 6
    if published == "resnet50":
        assert judged["ten_crop"]["accuracy"] is not None
        np.testing.assert_array_equal(after["bn_conv1"][0], before["bn_conv1"][0])
        assert np.any(after["conv1"][0] != before["conv1"][0])
    else:
        np.testing.assert_array_equal(after["conv2/3x3"][0], before["conv2/3x3"][0])
        moved = "inception_3a/1x1"
        assert np.any(after[moved][0] != before[moved][0])


class Flickr(ThreadingHTTPServer):
    """Photographs by number; every fifth is dead, every eleventh a picture that says so."""

    daemon_threads = True
    GONE = b"GIF89a, not available"

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Photos)
        self.url = f"http://127.0.0.1:{self.server_port}"


class _Photos(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        number = int(Path(self.path).stem)
        if number % 5 == 0:
            self.send_error(404)
            return
        image = photo(number, np.random.default_rng(number))
        content = Flickr.GONE if number % 11 == 0 else cv2.imencode(".jpg", image)[1].tobytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture
def flickr() -> Iterator[Flickr]:
    with Flickr() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def write_table(folder: Path, url: str, rows: int) -> None:
    """In the form of BVLC's table: a number, the address, the label, the split."""
    folder.mkdir(parents=True)
    with gzip.open(folder / "flickr_style.csv.gz", "wt", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["", "image_url", "label", "_split"])
        for number in range(rows):
            split = "test" if number % 4 == 0 else "train"
            writer.writerow([number, f"{url}/{number}.jpg", number % 21, split])
    (folder / "style_names.txt").write_text("".join(f"Style {n}\n" for n in range(21)))


@pytest.mark.slow
def test_flickr_style(tmp_path: Path, flickr: Flickr) -> None:
    weights = write_weights(tmp_path / "published.caffemodel", "caffenet")
    config = stand_in("flickr_style", weights)
    # The stand-in's own picture for what is gone.
    config["dataset"]["table"]["placeholders"].append(hashlib.sha1(Flickr.GONE).hexdigest())
    miniature = Miniature(tmp_path / "run", config)
    write_table(miniature.folder / "data" / "flickr_style", flickr.url, rows=21 * 15)
    runs = [f"results/flickr_style/experiments/{name}" for name in config["experiments"]]
    miniature.run(
        *(f"{run}/seed0/evaluation.json" for run in runs),
        "results/flickr_style/significance.csv",
    )

    with miniature.path("lost.csv").open(newline="") as stream:
        lost = {int(Path(row["url"]).stem): row["reason"] for row in csv.DictReader(stream)}
    asked = [number for number in range(21 * 15) if number % 21 < 20]
    assert sorted(lost) == [n for n in asked if n % 5 == 0 or n % 11 == 0]
    assert {lost[5], lost[11]} == {
        "the server answered 404 Not Found",
        "is the host's placeholder for an image that is gone",
    }
    classes = miniature.path("dataset/classes.txt").read_text().splitlines()
    assert classes == [f"Style {label}" for label in range(20)]
    facts = json.loads(miniature.path("dataset/summary.json").read_text())
    assert facts["given"] == ["train", "test"]
    tested = [number for number in asked if number % 4 == 0 and number not in lost]
    assert facts["totals"]["test"] == len(tested)

    def final(name: str) -> dict[str, list[np.ndarray]]:
        return read_weights(miniature.path(f"experiments/{name}/seed0/final.caffemodel"))

    before, head_only, then_all = read_weights(weights), final("head_only"), final("then_all")
    assert head_only["fc8_flickr"][0].shape == (20, 4096)
    np.testing.assert_array_equal(head_only["conv1"][0], before["conv1"][0])
    assert np.any(then_all["conv1"][0] != before["conv1"][0])
    # The second stage goes on from the first one's head: a step changes it little.
    change = np.linalg.norm(then_all["fc8_flickr"][0] - head_only["fc8_flickr"][0])
    assert 0 < change < 0.2 * np.linalg.norm(head_only["fc8_flickr"][0])
    patched = miniature.path("experiments/end_to_end/seed0/train_val.prototxt")
    (head,) = {
        tuple(spec.lr_mult for spec in layer.param)
        for layer in prototxt.read_net(patched).layer
        if layer.name == "fc8_flickr"
    }
    assert head == (10, 20)


@pytest.mark.slow
def test_gray_images_as_they_are(tmp_path: Path) -> None:
    miniature = Miniature(tmp_path / "run", read("gray_lenet"))
    miniature.run("results/all_digits/experiments/scratch/seed0/evaluation.json")
    evaluation = miniature.path("experiments/scratch/seed0/evaluation.json")
    assert json.loads(evaluation.read_text())["accuracy"] > 0.9


@pytest.mark.slow
def test_a_sweep_is_nine_experiments_in_one_figure(tmp_path: Path) -> None:
    config = read("sweep")
    for experiment in config["experiments"].values():
        experiment["solver"].update(max_iter=20)
    config["pretrained"]["train_on"]["solver"].update(max_iter=40)
    config["seeds"] = [0]
    miniature = Miniature(tmp_path / "run", config)
    miniature.run("results/swept_digits/plots/comparison.png")
    weights = {
        name: read_weights(miniature.path(f"experiments/{name}/seed0/final.caffemodel"))
        for name in config["experiments"]
    }
    assert len(weights) == 9
    source = read_weights(
        miniature.folder / "results/letters/experiments/source/seed0/final.caffemodel"
    )
    for name, found in weights.items():
        depth = name.partition("-")[0]
        assert np.array_equal(found["conv1"][0], source["conv1"][0]) == (depth != "nothing")
        assert np.array_equal(found["ip1"][0], source["ip1"][0]) == (depth == "all")
