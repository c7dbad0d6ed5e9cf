"""The task detection from a configuration to its report: on the example, and on VOC's form."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import pytest
import yaml
from miniature import Miniature
from recipes import REPOSITORY

from caffetools.detection import detections
from recaffe.proto.weights import read_weights

pytestmark = pytest.mark.slow
CONFIGS = REPOSITORY / "config" / "detection"
PAGE = REPOSITORY / "docs" / "how-to" / "detection.md"
# The whole example learns from 2,100 images for 7,000 iterations, to a mAP above 0.85.
IMAGES, ITERATIONS = 600, 1500
LEAST = 0.35  # mAP after that
RUN = Path("results/written/experiments/scratch/seed0")


def configured(name: str) -> dict:
    return yaml.safe_load((CONFIGS / f"{name}.yaml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Miniature:
    """The example, shortened, run to its end."""
    config = configured("digits")
    config["dataset"]["composed"]["images"] = IMAGES
    solver = config["experiments"]["scratch"]["solver"]
    solver.update(max_iter=ITERATIONS, snapshot=500)
    miniature = Miniature(tmp_path_factory.mktemp("detection") / "here", config)
    miniature.run()
    return miniature


def test_a_detector_learns_real_handwriting_on_real_photographs(found: Miniature):
    metrics = json.loads((found.folder / RUN / "evaluation/metrics.json").read_text())
    assert metrics["mAP"] > LEAST
    assert metrics["area"] == metrics["mAP"]
    assert len(metrics["classes"]) == 10
    page = (found.folder / "results/written/report.html").read_text(encoding="utf-8")
    assert f"{metrics['area']:.3f}" in page
    assert page.count("<img ") == 5
    assert not re.search(r"src=\"(?!data:)|https?://", page)


def shapes_of(weights: Path) -> dict[str, tuple[int, ...]]:
    """The shape of each layer's first blob, by name."""
    return {layer.name: layer.blobs[0].shape for layer in read_weights(weights) if layer.blobs}


def test_its_weights_have_the_published_names_and_shapes(found: Miniature):
    shapes = shapes_of(found.folder / RUN / "final.caffemodel")
    assert shapes["cls_score"] == (11, 128)
    assert shapes["bbox_pred"] == (44, 128)
    assert {"rpn_conv/3x3", "rpn_cls_score", "rpn_bbox_pred", "fc6", "fc7"} <= set(shapes)


def test_nothing_is_left_to_do_and_each_change_runs_what_hangs_on_it(found: Miniature):
    assert found.planned() == {}
    before = found.config
    found.config = json.loads(json.dumps(before))
    found.config["evaluation"] = {"metric": "voc07"}
    assert set(found.planned()) == {"judge", "figure", "report_page"}
    found.config["image"]["scale"] = 128
    assert {"patch", "train", "detect", "judge"} <= set(found.planned())
    assert not {"compose", "boxes", "roidb"} & set(found.planned())
    found.config = before


def test_the_pages_commands_run_beside_its_results(found: Miniature):
    text = PAGE.read_text(encoding="utf-8")
    first, *commands = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert first.startswith("snakemake ")
    environment = {
        **os.environ,
        "PYTHONPATH": str(found.folder / "src"),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    for command in commands:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command], cwd=found.folder, env=environment,
            capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    rows = detections.read(found.folder / "found/detections.csv")
    assert {row.path for row in rows} <= {
        f"results/written/images/JPEGImages/0000{index}.png" for index in range(10)
    }
    assert cv2.imread(str(next((found.folder / "found/drawn").iterdir()))) is not None
    (python,) = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    done = subprocess.run([sys.executable, "-c", python], cwd=found.folder, env=environment,
                          capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert all(re.match(r"\d+ [01]\.\d+ \(", line) for line in done.stdout.splitlines())


def test_the_configuration_for_voc_runs_on_data_of_that_form(tmp_path: Path):
    there = Miniature(tmp_path / "here")
    command = [sys.executable, "-m", "caffetools.detection.compose", "--images", "12", "--output",
               str(there.folder / "VOCdevkit" / "VOC2007")]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(there.folder / "src")}
    subprocess.run(command, check=True, env=environment, capture_output=True)
    there.config = configured("voc2007_zf")
    # Without a GPU and the weights; small images, and two iterations instead of 70,000.
    del there.config["pretrained"]
    there.config["experiments"]["end2end"] |= {"pretrained": False}
    there.config["experiments"]["end2end"]["solver"] = {"max_iter": 2, "stepsize": 2}
    there.config |= {"training": {}, "image": {"scale": 160, "max_size": 240}}
    there.run()
    run = there.folder / "results/voc2007/experiments/end2end/seed0"
    metrics = json.loads((run / "evaluation/metrics.json").read_text())
    assert metrics["metric"] == "voc07"
    assert shapes_of(run / "final.caffemodel")["fc6"] == (4096, 9216)
    learnt = (there.folder / "results/voc2007/dataset/train.jsonl").read_text().splitlines()
    summary = json.loads((there.folder / "results/voc2007/dataset/summary.json").read_text())
    assert len(learnt) == summary["images"]["train"] + summary["images"]["val"]


def test_mistakes_are_named(tmp_path: Path):
    there = Miniature(tmp_path / "here", configured("digits"))
    there.config["dataset"]["sourc"] = "x"
    done = there.snakemake("--dry-run")
    assert "dataset: unknown key 'sourc'; did you mean 'source'?" in done.stdout + done.stderr
    there.config = configured("digits") | {"model": {"net": "tiny", "train": "a"}}
    done = there.snakemake("--dry-run")
    told = done.stdout + done.stderr
    assert "config: model: expected net, one of Recaffe's, or the prototxts" in told
