"""Published weights in the workflow: shared between working folders, and fine-tuned by name."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

import pytest
from loopback import CONTENT, SHA1, SHA256, Server
from miniature import Miniature

import caffe
from caffetools import files, prototxt
from caffetools.pretrained import nets
from caffetools.weights import read_weights

pytestmark = pytest.mark.slow

WEIGHTS = "results/bars/pretrained.caffemodel"


def test_working_folders_share_one_download(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cache").mkdir()
    monkeypatch.setenv("SNAKEMAKE_OUTPUT_CACHE", str(tmp_path / "cache"))
    for name in ("one", "another"):
        miniature = Miniature(tmp_path / name)
        miniature.config["pretrained"] = {
            "url": [f"{server.url}/absent", f"{server.url}/answer"],
            "sha256": SHA256,
        }
        server.failures = 1
        miniature.run("--cache", "fetch", "--", WEIGHTS)
        assert (miniature.folder / WEIGHTS).read_bytes() == CONTENT
    assert server.requests == ["/absent", "/answer"]


def test_a_run_that_was_killed_goes_on_in_the_next(server: Server, tmp_path: Path) -> None:
    """Snakemake removes what a rule that failed has made, but not what has come so far."""
    server.ranges, server.stall, server.failures = True, 60, 1
    miniature = Miniature(tmp_path / "killed")
    miniature.config["pretrained"] = {"url": f"{server.url}/stalled_halfway", "sha1": SHA1}
    process = miniature.start("--", WEIGHTS)
    partial = miniature.path(".pretrained.caffemodel.partial")
    half = len(CONTENT) // 2
    for _ in range(3000):
        if partial.exists() and partial.stat().st_size == half:
            break
        time.sleep(0.01)
    lock = partial.with_name(f"{partial.name}.lock")
    subprocess.run(["kill", "-9", lock.read_text().split()[1]], check=True)
    process.communicate(timeout=60)
    assert process.returncode == 1
    assert partial.stat().st_size == half
    miniature.run("--", WEIGHTS)
    assert (miniature.folder / WEIGHTS).read_bytes() == CONTENT
    assert server.sent == [half, len(CONTENT) - half]


def test_a_server_that_goes_away_is_told_and_what_came_is_kept(
    server: Server, tmp_path: Path
) -> None:
    server.ranges, server.failures = True, 4
    miniature = Miniature(tmp_path / "gone")
    miniature.config["pretrained"] = {"url": f"{server.url}/cut", "sha256": SHA256}
    done = miniature.snakemake("--", WEIGHTS)
    assert done.returncode == 1
    assert not (miniature.folder / WEIGHTS).exists()
    said = miniature.log("fetch")
    assert f"{server.url}/cut" in said
    assert "Traceback" not in said
    come = sum(server.sent)
    assert 0 < come < len(CONTENT)
    miniature.run("--", WEIGHTS)
    assert (miniature.folder / WEIGHTS).read_bytes() == CONTENT
    assert server.sent[-1] == len(CONTENT) - come


def test_a_published_model_is_finetuned_by_name(tmp_path: Path) -> None:
    """SqueezeNet, the smallest, with weights drawn here in the place of the published ones."""
    net = tmp_path / "train_val.prototxt"
    text = prototxt.to_text(nets.deploy("squeezenet1.1"))
    net.write_text(text)
    drawn = caffe.Net(str(net), caffe.TEST)
    for blobs in drawn.params.values():
        blobs[0].data[...] = 0.01
    drawn.save(str(tmp_path / "squeezenet.caffemodel"))

    miniature = Miniature(tmp_path / "named")
    miniature.config["dataset"]["image"] = {"width": 227, "height": 227, "gray": False}
    miniature.config["pretrained"] = {
        "model": "squeezenet1.1",
        "url": str(tmp_path / "squeezenet.caffemodel"),
        "sha256": files.sha256(tmp_path / "squeezenet.caffemodel"),
    }
    del miniature.config["model"]
    miniature.config["experiments"] = {
        "tuned": {
            "freeze": ["*"],
            "batch_size": {"train": 3, "val": 9, "effective": 3},
            "solver": {"base_lr": 0.01, "max_iter": 2, "test_interval": 2, "snapshot": 2},
        }
    }
    miniature.config["seeds"] = [0]
    run = "results/bars/experiments/tuned/seed0"
    miniature.run("--", f"{run}/evaluation.json")

    patched = prototxt.read_net(miniature.folder / run / "train_val.prototxt")
    assert list(patched.layer[0].transform_param.mean_value) == [104, 117, 123]
    solver = prototxt.read_solver(miniature.folder / run / "solver.prototxt")
    assert (solver.lr_policy, solver.momentum, solver.iter_size) == ("poly", pytest.approx(0.9), 1)
    weights = read_weights(miniature.folder / run / "final.caffemodel")
    assert weights["conv10_bars"][0].shape[:2] == (3, 512)
    assert (weights["fire9/expand3x3"][0] == drawn.params["fire9/expand3x3"][0].data).all()
    assert json.loads((miniature.folder / run / "evaluation.json").read_text())["entries"] == 12
