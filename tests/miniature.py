"""A workflow of a minute: a user's own folder of small images, LeNet, six iterations."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import yaml
from recipes import REPOSITORY, learnable_images

CLASSES = ("high", "low", "middle")
SOLVER = {"base_lr": 0.01, "max_iter": 6, "test_interval": 3, "snapshot": 4}
IMAGE = {"width": 28, "height": 28, "gray": True}
CONFIG: dict[str, Any] = {
    "dataset": {
        "name": "bars",
        "source": "photos",
        "split": {"train": 5, "val": 3, "test": "rest", "seed": 0},
        "image": IMAGE,
    },
    "pretrained": {
        "train_on": {
            "dataset": {
                "name": "letters",
                "source": "letters",
                "per_class": 8,
                "split": {"train": 0.5, "val": 0.25, "test": "rest", "seed": 0},
                "image": IMAGE,
            },
            "batch_size": {"train": 26, "val": 52},
            "solver": SOLVER,
        }
    },
    "model": {
        "train_val": "config/models/lenet/train_val.prototxt",
        "solver": "config/models/lenet/solver.prototxt",
        "head": "ip2",
    },
    "experiments": {
        "tuned": {"head_lr_mult": 10, "batch_size": {"train": 5, "val": 9}, "solver": SOLVER},
        "scratch": {
            "pretrained": False,
            "batch_size": {"train": 5, "val": 9},
            "solver": SOLVER,
        },
    },
    "seeds": [0, 1],
    "report": {"accuracies": [0.5]},
}


def fresh(config: Any) -> Any:
    """A copy none of whose parts is in it twice, so that each can be changed alone."""
    return json.loads(json.dumps(config))


@dataclass
class Miniature:
    """A working folder with the workflow, its packages, a configuration and images of its own.

    All of it is copied, so that what is edited in the checkout meanwhile changes no run.
    """

    folder: Path
    config: dict[str, Any] = field(default_factory=lambda: fresh(CONFIG))

    def __post_init__(self) -> None:
        if self.folder.exists():
            return
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
        for name in ("workflow", "profiles", "envs", "config/models", "src"):
            shutil.copytree(REPOSITORY / name, self.folder / name, ignore=ignored)
        shutil.copy(REPOSITORY / "Snakefile", self.folder)
        write_photos(self.folder / "photos")

    def start(self, *options: str, output: Any = subprocess.PIPE) -> subprocess.Popen[str]:
        """Start Snakemake here under the configuration as it is now, in a session of its own."""
        text = yaml.safe_dump(self.config, sort_keys=False)
        (self.folder / "config" / "config.yaml").write_text(text)
        return subprocess.Popen(
            [sys.executable, "-m", "snakemake", "--cores", "2", "--nocolor", *options],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(self.folder / "src")},
            stdout=output,
            stderr=output,
            text=True,
            start_new_session=True,
        )

    def snakemake(self, *options: str) -> subprocess.CompletedProcess[str]:
        """Run Snakemake likewise, to its end."""
        with self.start(*options) as process:
            stdout, stderr = process.communicate(timeout=1200)
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)

    def run(self, *options: str) -> str:
        """Run Snakemake, which must succeed; return what it said."""
        done = self.snakemake(*options)
        assert done.returncode == 0, done.stderr[-6000:]
        return done.stderr

    def planned(self, *options: str) -> dict[str, set[str]]:
        """What would run now: rule by rule, the first output of each job, without `results/`."""
        done = self.snakemake("--dry-run", *options)
        assert done.returncode == 0, done.stderr[-6000:]
        jobs: dict[str, set[str]] = {}
        rule = ""
        for line in (done.stdout + done.stderr).splitlines():
            name, _, rest = line.strip().partition(" ")
            if name in ("rule", "localrule") and rest.endswith(":"):
                rule = rest[:-1]
            elif name == "output:" and rule:
                first = rest.split(", ")[0]
                jobs.setdefault(rule, set()).add(first.removeprefix("results/"))
        return jobs

    def copy(self, folder: Path) -> Miniature:
        """The same in another folder, results and all."""
        shutil.copytree(self.folder, folder)
        return Miniature(folder, fresh(self.config))

    def change_code(self, module: str) -> None:
        """Change a module of the packages, by a comment at its end."""
        with (self.folder / "src" / module).open("a", encoding="utf-8") as stream:
            stream.write("\n# Something else.\n")

    def hashes(self, *without: str) -> dict[str, str]:
        """The SHA-256 of every result, without logs, run times, locks and folders ``without``."""
        root, left_out = self.folder / "results", {"logs", "benchmarks", *without}
        return {
            path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(root.rglob("*"))
            if path.is_file()
            and not left_out & set(path.relative_to(root).parts)
            and path.name not in ("lock", "lock.mdb", ".snakemake_timestamp")
        }

    def path(self, name: str) -> Path:
        """A result of the data set."""
        return self.folder / "results" / self.config["dataset"]["name"] / name

    def log(self, name: str) -> str:
        """A job's log."""
        return self.path(f"logs/{name}.log").read_text(encoding="utf-8")


def write_photos(folder: Path, classes: Iterable[str] = CLASSES, each: int = 12) -> None:
    """``each`` images of 12 by 12 a class, in class folders."""
    names = list(classes)
    images, labels = learnable_images(each * len(names), len(names), (1, 12, 12))
    for index, (image, label) in enumerate(zip(images, labels, strict=True)):
        path = folder / names[label] / f"{index:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path), image[0])
