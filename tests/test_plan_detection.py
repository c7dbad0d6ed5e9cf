"""What a configuration with ``task: detection`` asks for, and what it may not."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from caffetools.cli import ToolError
from caffetools.config import check_config
from caffetools.plan_detection import DetectionPlan

ROOT = Path(__file__).resolve().parents[1]
SCHEMA = ROOT / "workflow" / "schemas" / "detection.schema.yaml"
CONFIGS = sorted((ROOT / "config" / "detection").glob("*.yaml"))

SMALL: dict[str, Any] = {
    "task": "detection",
    "dataset": {"name": "mine", "source": "folder", "format": "voc"},
    "model": {"net": "zf"},
    "experiments": {"scratch": {"pretrained": False}},
}


def merged(base: Any, more: Any) -> Any:
    if not isinstance(base, dict) or not isinstance(more, dict):
        return more
    return {key: merged(base.get(key), more[key]) if key in more else base[key] for key in
            {**base, **more}}  # fmt: skip


def plan(more: dict[str, Any] | None = None) -> DetectionPlan:
    from snakemake.utils import validate

    config = merged(SMALL, more or {})
    check_config(config, SCHEMA)
    validate(config, str(SCHEMA))
    return DetectionPlan(config)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_the_configurations_here_are_as_the_schema_says(path: Path):
    found = yaml.safe_load(path.read_text(encoding="utf-8"))
    check_config(found, SCHEMA)
    assert plan(found).target


def test_there_are_configurations_for_the_published_figures():
    texts = [path.read_text(encoding="utf-8") for path in CONFIGS if "voc2007" in path.name]
    assert len(texts) == 2
    assert all("NOT reproduced" in text for text in texts)


def test_defaults_are_filled_in():
    told = plan().settings("scratch", 3)
    assert told == {
        "scale": 600,
        "max_size": 1000,
        "mean": [102.9801, 115.9465, 122.7717],
        "mirror": True,
        "new_heads": False,
        "suffix": "_mine",
        "solver": {"random_seed": 3, "solver_mode": "CPU"},
    }
    assert plan().dataset_options == ["--format", "voc", "--seed", "0"]
    assert plan().roidb_options == ["--split", "train"]
    assert plan().detect_options[:4] == ["--scale", "600", "--max-size", "1000"]
    assert plan().weights("scratch") is None


def test_what_is_told_reaches_the_commands():
    found = plan({
        "dataset": {"format": "coco", "annotations": ["a.json", "b.json"], "classes": "c.txt",
                    "split": {"train": 10, "given": False, "group": "x", "folds": 3,
                              "fold": 1}, "clip": True,
                    "learn": ["train", "val"], "learn_difficult": True},
        "model": {"anchor_scales": [2, 4]},
        "pretrained": {"model": "vgg16"},
        "experiments": {"tuned": {"new_heads": True, "solver": {"base_lr": 0.1}}},
        "training": {"gpu": True},
        "evaluation": {"metric": "voc07"},
    })  # fmt: skip
    assert found.dataset_options == [
        "--format", "coco", "--classes", "c.txt", "--annotations", "a.json", "b.json",
        "--fold", "1", "--folds", "3", "--group", "x", "--seed", "0", "--train", "10",
        "--ignore-splits", "--clip",
    ]  # fmt: skip
    assert found.dataset_files == ["c.txt", "a.json", "b.json"]
    assert found.roidb_options == ["--split", "train", "val", "--difficult"]
    assert found.net_options == ["zf", "--scales", "2", "4"]
    assert found.weights("tuned") == "results/mine/pretrained.caffemodel"
    assert found.settings("tuned", 0)["solver"] == {
        "base_lr": 0.1, "random_seed": 0, "solver_mode": "GPU"
    }  # fmt: skip
    assert found.evaluation_options == ["--iou", "0.5", "--metric", "voc07"]
    assert found.fetch_options[:1] == ["--url"]
    assert found.labelled_runs() == [
        "scratch:0:results/mine/experiments/scratch/seed0",
        "tuned:0:results/mine/experiments/tuned/seed0",
    ]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"model": {"train": "a"}}, "model: expected net, one of Recaffe's, or the prototxts"),
        ({"model": {"net": None}}, "is not as its schema says"),
        ({"experiments": {"tuned": {}}}, "starts from pretrained weights, and 'pretrained' names"),
        ({"dataset": {"composed": {"images": 10}}}, "and with no other source"),
        ({"dataset": {"formt": "voc"}}, "unknown key 'formt'; did you mean 'format'"),
        ({"image": {"scale": 0}}, "image.scale: 0 is less than the minimum"),
        ({"training": {"threads": 0}}, "training.threads: 0 is less than the minimum"),
        ({"pretrained": {"url": "a"}}, "is not valid under any|pretrained"),
    ],
)
def test_what_cannot_be_is_named(more: dict[str, Any], message: str):
    with pytest.raises(ToolError, match=message):
        plan(more)


def test_prototxts_of_ones_own_take_the_nets_place():
    files = {"train": "a", "test": "b", "solver": "c"}
    config = merged(SMALL, {"model": files})
    del config["model"]["net"]
    jsonschema.Draft202012Validator.check_schema(yaml.safe_load(SCHEMA.read_text()))
    from snakemake.utils import validate

    validate(config, str(SCHEMA))
    found = DetectionPlan(config)
    assert [found.file(kind) for kind in files] == ["a", "b", "c"]
    assert not found.writes_nets
    config["model"]["anchor_scales"] = [8]
    with pytest.raises(ToolError, match="anchor_scales: those of prototxts of your own"):
        DetectionPlan(config)


def test_a_folder_that_is_absent_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ToolError, match="there is no folder folder"):
        plan().require_folders()
    (tmp_path / "folder").mkdir()
    plan().require_folders()
    with pytest.raises(ToolError, match=r"dataset\.classes: there is no c\.txt"):
        plan({"dataset": {"classes": "c.txt"}}).require_folders()
    built_in = {"source": "digits-on-photographs", "composed": {"images": 10}}
    plan({"dataset": built_in}).require_folders()


def test_each_figure_has_a_command_that_takes_what_it_is_told():
    found = plan()
    for figure in found.figures:
        module, *options = found.figure("mine", "scratch", figure)
        command = importlib.import_module(module)
        with pytest.raises((ToolError, OSError)) as refused:
            command.main([*options, "--output", "figure.png"])
        # Of the files that it is told none is there yet.
        assert "results/mine/experiments/scratch/seed0" in str(refused.value)
