"""The how-to pages' examples as scripts, and folders for them to start in."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

import bundles
import cv2
import numpy as np
from google.protobuf import text_format
from recipes import REPOSITORY, learnable_images, read_model, without_chance, write_lmdb

from caffetools.bundle import make

FOLDER = REPOSITORY / "docs" / "how-to"
# What the pages' examples leave behind, among others, by the page's name.
LEFT = {
    "monitor-training": (
        *("loss.png", "error.svg", "gradient.png", "infogain.binaryproto"),
        *("snapshots/lenet_best.solverstate", "snapshots/lenet_early_stopping.caffemodel"),
    ),
    "see-inside-a-net": ("conv1.png", "ip2.png", "lenet.caffemodel"),
    "deploy": ("classes.csv", "classes.html", "net.onnx"),
    "data-sets": ("lmdbs/faces_labels.json", "arrays/train.json", "lmdbs/volumes/data/data.mdb"),
}

# Pages whose examples need packages or layers that BVLC's build does not have, or what their
# shell commands make.
OURS_ALONE = ("data-sets", "deploy", "detection")
# Pages whose shell commands start where their Python does, and not beside the default results.
OWN_COMMANDS = ("data-sets", "deploy")


def prepare(page: Path, folder: Path) -> tuple[str, ...]:
    """Make ``folder`` what the page's examples start in; the files that they must leave there."""
    if page.stem == "deploy":
        write_bundle(folder)
    elif page.stem == "data-sets":
        write_arrays(folder)
    else:
        write_training(folder)
    return LEFT[page.stem]


def script(page: Path) -> str:
    """All of the page's Python, from top to bottom."""
    text = page.read_text(encoding="utf-8")
    return "\n".join(re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL))


def write_training(folder: Path) -> None:
    """LeNet, its solver, and 16 images to learn from with 8 to test on."""
    images, labels = learnable_images(16, 4, (1, 28, 28))
    write_lmdb(folder / "train", images, labels)
    write_lmdb(folder / "val", images[:8], labels[:8])
    net, solver = read_model("lenet")
    without_chance(net, 16)
    net.layer[1].data_param.source = "val"
    net.layer[1].data_param.batch_size = 4
    solver.test_iter[:] = [2]
    solver.snapshot_prefix = "snapshots/lenet"
    (folder / "snapshots").mkdir()
    (folder / "train_val.prototxt").write_text(text_format.MessageToString(net))
    (folder / "solver.prototxt").write_text(text_format.MessageToString(solver))


def write_arrays(folder: Path) -> None:
    """Features with targets, volumes with their kinds, and photographs with three labels each."""
    random = np.random.RandomState(0)
    np.save(folder / "features.npy", random.normal(size=(20, 6)))
    np.save(folder / "targets.npy", random.normal(size=(20, 2)))
    np.save(folder / "volumes.npy", random.randint(0, 256, (5, 8, 9, 10)).astype(np.uint8))
    np.save(folder / "kinds.npy", np.arange(5))
    (folder / "faces").mkdir()
    lines = ["1 0 0", "0 1 0.5"]
    for number in (1, 2):
        image = random.randint(0, 256, (9, 7, 3)).astype(np.uint8)
        cv2.imwrite(str(folder / "faces" / f"{number}.jpg"), image)
    listed = (f"faces/{number}.jpg {line}\n" for number, line in enumerate(lines, 1))
    (folder / "faces.txt").write_text("".join(listed))


def write_bundle(folder: Path) -> None:
    """A bundle of a net that subtracts a value from each channel and crops, and its photos."""
    with contextlib.chdir(folder):
        transform = "mean_value: 90 mean_value: 100 mean_value: 110 scale: 0.02 crop_size: 15"
        make.main(bundles.write(folder, transform).arguments())
