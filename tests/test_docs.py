"""The documents' examples: configurations are valid, Python runs, links lead somewhere."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from how_to import OWN_COMMANDS, prepare, script

from caffetools.config import check_config

ROOT = Path(__file__).resolve().parent.parent
SCHEMA = ROOT / "workflow" / "schemas" / "config.schema.yaml"
DETECTION = SCHEMA.with_name("detection.schema.yaml")
DOCUMENTS = sorted(
    path.relative_to(ROOT)
    for path in [*ROOT.glob("*.md"), *ROOT.glob("config/*.md"), *ROOT.glob("docs/**/*.md")]
)


def blocks(document: Path, language: str) -> list[str]:
    text = (ROOT / document).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


YAML = [(path, text) for path in DOCUMENTS for text in blocks(path, "yaml")]
# What these show wants other results; test_workflow_detection runs it.
OF_OTHER_RESULTS = ("detection",)
HOW_TOS = [
    path
    for path in DOCUMENTS
    if path.parent.name == "how-to" and path.stem not in OF_OTHER_RESULTS and blocks(path, "python")
]
PYTHON = [
    (path, text)
    for path in DOCUMENTS
    if path not in HOW_TOS and path.stem not in OF_OTHER_RESULTS
    for text in blocks(path, "python")
]


def test_there_are_examples():
    assert len(YAML) >= 4
    assert PYTHON


@pytest.mark.parametrize(("document", "text"), YAML, ids=lambda value: str(value)[:30])
def test_configurations_are_valid(document, text):
    told = yaml.safe_load(text)
    if told.get("task") == "detection":
        check_config(told, DETECTION)
        return
    default = yaml.safe_load((ROOT / "config" / "config.yaml").read_text(encoding="utf-8"))
    check_config({**default, **told}, SCHEMA)


def test_splits_of_the_table_are_valid():
    page = (ROOT / "docs" / "how-to" / "data-sets.md").read_text(encoding="utf-8")
    splits = re.findall(r"^\| .* \| `(\{.*\})`.* \|$", page, re.MULTILINE)
    assert len(splits) == 6
    default = yaml.safe_load((ROOT / "config" / "config.yaml").read_text(encoding="utf-8"))
    for text in splits:
        default["dataset"]["split"] = yaml.safe_load(text)
        check_config(default, SCHEMA)


@pytest.mark.slow
@pytest.mark.parametrize(("document", "text"), PYTHON, ids=lambda value: str(value)[:30])
def test_python_runs_on_the_default_results(document, text):
    if not (ROOT / "results" / "digits" / "report.html").exists():
        pytest.skip("the examples are about the results of `make run`")
    subprocess.run([sys.executable, "-c", text], cwd=ROOT, check=True, capture_output=True)


@pytest.mark.slow
@pytest.mark.parametrize("page", HOW_TOS, ids=lambda path: path.stem)
def test_how_to_pages_run_from_top_to_bottom(page, tmp_path):
    left = prepare(ROOT / page, tmp_path)
    if page.stem in OWN_COMMANDS:
        run_commands(page, tmp_path)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", script(ROOT / page)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for name in left:
        assert (tmp_path / name).is_file()
    if page.stem == "deploy":
        answers = dict(line.split(" ", 1) for line in done.stdout.splitlines()[:3])
        assert answers.keys() == {"Caffe", "OpenCV", "ONNX"}
        assert len(set(answers.values())) == 1, answers


# Their commands want a cluster, several GPUs, or images; test_slurm, test_clusters, test_torchrun
# and test_two_caffes run the same.
ELSEWHERE = ("clusters", "two-caffes")
TOOLS = [
    path
    for path in DOCUMENTS
    if path.parent.name in ("tools", "how-to", "docs")
    and blocks(path, "sh")
    and path.stem not in (*OWN_COMMANDS, *ELSEWHERE, *OF_OTHER_RESULTS)
]


@pytest.mark.slow
@pytest.mark.parametrize("document", TOOLS, ids=lambda path: path.stem)
def test_commands_run_as_their_pages_say(document, tmp_path):
    """All of a page's commands, one after the other, beside the default results."""
    if not (ROOT / "results" / "digits" / "report.html").exists():
        pytest.skip("the examples are about the results of `make run`")
    if "draw_net" in str(document):
        pytest.importorskip("pydot")
        if shutil.which("dot") is None:
            pytest.skip("Graphviz is not installed")
    (tmp_path / "results").symlink_to(ROOT / "results")
    run_commands(document, tmp_path)


def run_commands(document, folder):
    script = "set -euo pipefail\n" + "\n".join(blocks(document, "sh"))
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=folder, capture_output=True, text=True,
        env={**os.environ, "PATH": path, "GLOG_minloglevel": "0"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_links_lead_to_files(document):
    text = (ROOT / document).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        if "://" not in target:
            assert (ROOT / document).parent.joinpath(target).exists(), target


@pytest.mark.parametrize("path", [SCHEMA, DETECTION], ids=lambda path: path.stem)
def test_every_key_is_explained(path):
    """Each property of the schema stands in config/README.md."""
    explained = (ROOT / "config" / "README.md").read_text(encoding="utf-8")
    if path == DETECTION:
        explained = explained.partition("## The task detection")[2]
    schema = yaml.safe_load(path.read_text(encoding="utf-8"))

    def keys(node):
        if isinstance(node, dict):
            for name, value in (node.get("properties") or {}).items():
                yield name
                yield from keys(value)
            for name, value in node.items():
                if name != "properties":
                    yield from keys(value)

    missing = {key for key in keys(schema) if not re.search(rf"\b{key}\b", explained)}
    assert not missing
