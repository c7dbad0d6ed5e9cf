"""What may happen to a run from outside: disks that fill up, results that go, clocks that jump."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from miniature import Miniature, fresh

pytestmark = pytest.mark.slow
TARGETS = ("results/bars/experiments/scratch/seed0/evaluation.json",)


def small(folder: Path) -> Miniature:
    """One experiment of one seed, trained from the fillers."""
    miniature = Miniature(folder)
    miniature.config["experiments"] = {"scratch": fresh(miniature.config["experiments"]["scratch"])}
    miniature.config["seeds"] = [0]
    return miniature


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Miniature:
    miniature = small(tmp_path_factory.mktemp("disasters") / "finished")
    miniature.run(*TARGETS)
    return miniature


@contextlib.contextmanager
def mounted(folder: Path, size: str) -> Iterator[None]:
    """A file system of its own on ``folder``, which holds no more than ``size``."""
    folder.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def remount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)


# Where the disk is full: while the images become an LMDB, and while snapshots are taken.
@pytest.mark.parametrize("size", ["400k", "8m"])
def test_a_full_disk_is_told_and_leaves_nothing_half_written(finished, tmp_path, size):
    miniature = small(tmp_path / "full")
    results = miniature.folder / "results"
    with mounted(results, size):
        done = miniature.snakemake(*TARGETS)
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        assert "No space left on device" in done.stderr or "bytes are free" in done.stderr
        expected = finished.hashes()
        for name, digest in miniature.hashes("snapshots").items():
            assert expected[name] == digest, name
        remount(results, "size=1g")
        miniature.run(*TARGETS)
        assert miniature.hashes("snapshots") == finished.hashes("snapshots")


def test_results_that_cannot_be_written_to_are_told(finished, tmp_path):
    miniature = finished.copy(tmp_path / "readonly")
    results = miniature.folder / "results"
    with mounted(results, "100m"):
        shutil.copytree(finished.folder / "results", results, dirs_exist_ok=True)
        miniature.config["experiments"]["scratch"]["solver"]["max_iter"] = 7
        remount(results, "ro")
        done = miniature.snakemake(*TARGETS)
        assert done.returncode == 1
        assert "Write-protected output files" in done.stderr
        assert miniature.hashes() == finished.hashes()
        remount(results, "rw")
        miniature.run(*TARGETS)


@pytest.mark.parametrize(
    "gone",
    [
        *("lmdb/test", "lmdb/train", "lmdb/train.json", "dataset", "dataset/classes.txt"),
        *("experiments/scratch/seed0/train_val.prototxt", "experiments/scratch/preflight.json"),
        "experiments/scratch/seed0/snapshots",
    ],
)
def test_results_that_vanish_are_made_again_for_who_needs_them(finished, tmp_path, gone):
    miniature = finished.copy(tmp_path / "vanished")
    wanted = [
        f"experiments/scratch/seed0/{name}" for name in ("evaluation.json", "final.caffemodel")
    ]
    for name in (gone, *wanted):
        path = miniature.path(name)
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    miniature.run(*TARGETS)
    assert miniature.hashes("snapshots") == finished.hashes("snapshots")


def test_an_image_that_vanishes_while_it_is_wanted_is_named(finished, tmp_path):
    """Between the lists and the LMDB: nobody lists it again, since only the LMDB is wanted."""
    miniature = finished.copy(tmp_path / "image")
    shutil.rmtree(miniature.path("lmdb/train"))
    miniature.path("lmdb/train.json").unlink()
    listed = miniature.path("dataset/train.txt").read_text().splitlines()[0].rpartition(" ")[0]
    (miniature.folder / "photos" / listed).rename(miniature.folder / "gone")
    done = miniature.snakemake("--allowed-rules", "lmdb", "--", "results/bars/lmdb/train.json")
    assert done.returncode == 1
    assert listed in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("seed", [0, 1])
def test_clocks_that_jump_change_no_result(finished, tmp_path, seed):
    """Files of any times, from years ago to years ahead."""
    miniature = finished.copy(tmp_path / "clocks")
    jumps = random.Random(seed)
    for root in ("results", "photos"):
        for path in sorted((miniature.folder / root).rglob("*")):
            moment = time.time() + jumps.uniform(-1e8, 1e8)
            os.utime(path, (moment, moment))
    miniature.run(*TARGETS)
    assert miniature.hashes("snapshots") == finished.hashes("snapshots")
