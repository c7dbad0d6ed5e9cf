"""The how-to pages' examples as scripts, and a folder for them to start in."""

from __future__ import annotations

import re
from pathlib import Path

from google.protobuf import text_format
from recipes import REPOSITORY, learnable_images, read_model, without_chance, write_lmdb

FOLDER = REPOSITORY / "docs" / "how-to"
# What the pages' examples leave behind, among others, by the page's name.
LEFT = {
    "monitor-training": (
        *("loss.png", "error.svg", "gradient.png", "infogain.binaryproto"),
        *("snapshots/lenet_best.solverstate", "snapshots/lenet_early_stopping.caffemodel"),
    ),
    "see-inside-a-net": ("conv1.png", "ip2.png", "lenet.caffemodel"),
}


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
