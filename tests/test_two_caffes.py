"""The default pipeline on both Caffes: ``caffe.runtime: recaffe`` and ``bvlc``."""

from __future__ import annotations

import csv
import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from bvlc import Build
from miniature import Miniature
from recipes import REPOSITORY

from caffetools.files import sha256
from caffetools.history import read_history
from caffetools.weights import read_weights

pytestmark = [pytest.mark.oracle, pytest.mark.slow]
RUN = "results/digits/experiments/{}/seed0/{}"
EMBEDDING = "results/digits/plots/tuned.embedding.svg"
SOLVER = {
    "base_lr": 0.005, "lr_policy": "step", "gamma": 0.1, "stepsize": 20, "max_iter": 30,
    "test_interval": 10, "snapshot": 15,
}  # fmt: skip
EXPERIMENTS: dict[str, Any] = {
    "tuned": {"head_lr_mult": 10, "batch_size": {"val": 100}, "solver": SOLVER},
    "frozen": {"freeze": ["*"], "head_lr_mult": 10, "batch_size": {"val": 100}, "solver": SOLVER},
}
TARGETS = [
    *(RUN.format(name, "evaluation.json") for name in EXPERIMENTS),
    EMBEDDING,
]


def default(folder: Path, **changes: Any) -> Miniature:
    """The default configuration, with one seed and short trainings."""
    config = yaml.safe_load((REPOSITORY / "config" / "config.yaml").read_text())
    return Miniature(folder, {**config, "seeds": [0], **changes})


@pytest.fixture(scope="module")
def initial(tmp_path_factory) -> Path:
    """Weights of every layer, the new head's among them: fillers draw otherwise in BVLC's."""
    scratch = {"pretrained": False, "solver": {**SOLVER, "max_iter": 1}}
    miniature = default(
        tmp_path_factory.mktemp("initial") / "run", experiments={"scratch": scratch}
    )
    miniature.run(RUN.format("scratch", "final.caffemodel"))
    return miniature.folder / RUN.format("scratch", "final.caffemodel")


@pytest.fixture(scope="module")
def both(bvlc: Build, initial: Path, tmp_path_factory) -> dict[str, Miniature]:
    folder = tmp_path_factory.mktemp("both")
    found = {}
    for runtime in ("recaffe", "bvlc"):
        miniature = default(
            folder / runtime,
            pretrained={"url": initial.as_uri(), "sha256": sha256(initial)},
            # The head is not new, so that both start with it alike.
            preflight={"accept": ["head"]},
            experiments=EXPERIMENTS,
            caffe={"runtime": runtime},
        )
        miniature.run("--", *TARGETS)
        found[runtime] = miniature
    return found


def table(miniature: Miniature, name: str) -> list[list[str]]:
    with (miniature.folder / name).open(newline="") as stream:
        return list(csv.reader(stream))


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_losses_are_the_same(both, experiment: str):
    ours, theirs = (
        read_history(both[runtime].folder / RUN.format(experiment, "history.csv"))
        for runtime in ("recaffe", "bvlc")
    )
    assert len(ours.loss) == 31
    assert ours.loss[30] < 0.8 * ours.loss[1]
    np.testing.assert_allclose(ours.loss, theirs.loss, rtol=1e-4)
    np.testing.assert_allclose(ours.test_loss, theirs.test_loss, rtol=1e-4)
    assert (ours.loss != theirs.loss).any(), "both were run by one Caffe"


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_the_same_errors_are_counted(both, experiment: str):
    ours, theirs = (
        json.loads((both[runtime].folder / RUN.format(experiment, "evaluation.json")).read_text())
        for runtime in ("recaffe", "bvlc")
    )
    assert ours["errors"] == theirs["errors"] > 0
    tables = [table(both[name], RUN.format(experiment, "confusion.csv")) for name in both]
    assert tables[0] == tables[1]


def test_weights_of_bvlcs_training_are_near_ours(both):
    ours, theirs = (
        read_weights(both[runtime].folder / RUN.format("tuned", "final.caffemodel"))
        for runtime in ("recaffe", "bvlc")
    )
    assert ours.keys() == theirs.keys()
    for name, blobs in theirs.items():
        for own, blob in zip(ours[name], blobs, strict=True):
            np.testing.assert_allclose(own, blob, rtol=0, atol=1e-4 * np.abs(blob).max())


def test_features_are_bvlcs_too(both):
    assert all((both[runtime].folder / EMBEDDING).is_file() for runtime in both)
    log = (both["bvlc"].folder / "results/digits/logs/embedding.tuned.log").read_text()
    assert "Traceback" not in log


def test_the_other_caffe_trains_again_from_the_start(both):
    miniature = both["bvlc"]
    planned = miniature.planned("--", *TARGETS)
    assert planned == {}
    other = Miniature(miniature.folder, {**miniature.config, "caffe": {"runtime": "recaffe"}})
    assert set(other.planned("--", *TARGETS)) == {"train", "evaluate", "embedding"}


def test_a_training_that_is_stopped_there_goes_on(both, tmp_path):
    """A signal reaches BVLC's interpreter, and its next run begins with the snapshot."""
    folder = both["bvlc"].folder
    text = (folder / RUN.format("tuned", "solver.prototxt")).read_text()
    longer = re.sub("max_iter: [0-9]+", "max_iter: 190", text)
    solver = tmp_path / "solver.prototxt"
    solver.write_text(longer)
    command = [
        *(sys.executable, "-m", "caffetools.bvlc", "run", "caffetools.train"),
        *("--solver", str(solver), "--snapshots", str(tmp_path / "snapshots")),
        *("--output", str(tmp_path / "w.caffemodel"), "--history", str(tmp_path / "h.csv")),
    ]
    with subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True) as process:
        end = time.monotonic() + 100
        while not list((tmp_path / "snapshots").glob("*.solverstate")):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < end
            time.sleep(0.1)
        process.terminate()
        _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM, said
    stopped = max(
        int(path.stem.split("_")[-1]) for path in tmp_path.glob("snapshots/*.solverstate")
    )
    assert 15 <= stopped < 100
    # Not much shorter, so that gradients are recorded at the same intervals.
    solver.write_text(longer.replace("max_iter: 190", "max_iter: 150"))
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert f"going on from iteration {stopped}\n" in done.stderr
    assert len(read_history(tmp_path / "h.csv").loss) == 151
