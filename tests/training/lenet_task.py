"""A training that takes a moment, as a folder of files and as a command."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

from google.protobuf import text_format
from recipes import learnable_images, read_model, without_chance, write_lmdb

from caffetools import train

ENTRIES = 16
CLASSES = 4
# Paths are relative, since a caffemodel names the LMDBs of its net as the net does.
ARGUMENTS = (
    *("--solver", "solver.prototxt", "--snapshots", "snapshots"),
    *("--output", "final.caffemodel", "--history", "history.csv"),
    *("--gradients", "gradients.csv"),
)


class Task:
    """LeNet on a few images that it can learn; one batch holds them all."""

    def __init__(self, folder: Path, **solver_fields: object) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        images, labels = learnable_images(ENTRIES, CLASSES, (1, 28, 28))
        write_lmdb(folder / "train", images, labels)
        write_lmdb(folder / "val", images[:8], labels[:8])
        self.net, self.param = read_model("lenet")
        without_chance(self.net, ENTRIES)
        self.net.layer[1].data_param.source = "val"
        self.net.layer[1].data_param.batch_size = 4
        for field in ("test_iter", "display"):
            self.param.ClearField(field)
        self.param.net = "train_val.prototxt"
        self.param.test_iter.append(2)
        self.set(base_lr=0.02, max_iter=12, test_interval=5, snapshot=4, random_seed=1)
        self.set(**solver_fields)
        self.write()

    def set(self, **fields: object) -> None:
        """Set fields of the solver."""
        for name, value in fields.items():
            self.param.ClearField(name)
            text_format.Merge(f"{name}: {value}", self.param)

    def write(self) -> None:
        """Write net and solver as they are now."""
        (self.folder / "train_val.prototxt").write_text(text_format.MessageToString(self.net))
        self.solver.write_text(text_format.MessageToString(self.param))

    @property
    def solver(self) -> Path:
        return self.folder / "solver.prototxt"

    @property
    def snapshots(self) -> Path:
        return self.folder / "snapshots"

    @property
    def weights(self) -> Path:
        return self.folder / "final.caffemodel"

    @property
    def history(self) -> Path:
        return self.folder / "history.csv"

    @property
    def gradients(self) -> Path:
        return self.folder / "gradients.csv"

    def train(self, *options: object) -> int | None:
        """Train in this process; what a mistake raises is the caller's to catch."""
        with contextlib.chdir(self.folder):
            return train.main([*ARGUMENTS, *map(str, options)])

    def start(self, *options: object) -> subprocess.Popen[str]:
        """Start training in a process of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "caffetools.train", *ARGUMENTS, *map(str, options)],
            cwd=self.folder,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stderr=subprocess.PIPE,
            text=True,
        )
