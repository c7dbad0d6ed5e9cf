"""The tests of pycaffe's face, tests/pycaffe/test_*.py: here by pytest, there by run.py.

pytest collects these files as they are, for this build. Here they run under BVLC's
interpreter, unchanged; what is for one build alone each file names, with the reason.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from bvlc import Build

FOLDER = Path(__file__).with_name("pycaffe")
FILES = sorted(path.name for path in FOLDER.glob("test_*.py"))
ALLOWED = sys.stdlib_module_names | {"numpy", "caffe", "google"}  # protobuf is pycaffe's own

SAMPLE = """
import os

ONLY_BVLC = {"test_skipped": "the reason"}

def helper():
    return 1

def test_passes():
    assert helper() == 1 and os.listdir(".") == []
    open("left", "w").close()

def test_finds_an_empty_folder():
    assert os.listdir(".") == []

def test_fails():
    assert helper() == 2, "two"

def test_a_dies():
    os.abort()

def test_skipped():
    raise RuntimeError
"""


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


@pytest.mark.oracle
@pytest.mark.parametrize("name", FILES)
def test_the_same_file_passes_on_bvlcs_build(bvlc: Build, name: str) -> None:
    files = {f"pycaffe/{path.name}": path for path in FOLDER.glob("*.py")}
    with bvlc.workplace(files) as place:
        done = place.run(["python3", "pycaffe/run.py", f"pycaffe/{name}"], check=False)
    found = lines(done.stdout)
    assert found, done.stderr
    assert {line["caffe"] for line in found} == {"/usr/lib/python3/dist-packages/caffe/__init__.py"}
    wrong = [line for line in found if line["outcome"] in ("failed", "died")]
    words = "\n".join(f"{line['test']} {line['outcome']}: {line['says']}" for line in wrong)
    assert not wrong, f"{words}\n{done.stderr[-4000:]}"
    assert done.status == 0, done.stderr


@pytest.mark.parametrize("name", FILES)
def test_files_need_nothing_that_bvlcs_interpreter_lacks(name: str) -> None:
    own = {path.stem for path in FOLDER.glob("*.py")}
    tree = ast.parse((FOLDER / name).read_text(), feature_version=(3, 9))
    imported = {
        (node.module or "") if isinstance(node, ast.ImportFrom) else alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert {module.split(".")[0] for module in imported} <= ALLOWED | own


@pytest.mark.parametrize("name", FILES)
def test_tests_for_one_build_alone_are_named_with_a_reason(name: str) -> None:
    tree = ast.parse((FOLDER / name).read_text())
    tests = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    for node in tree.body:
        names = [ast.unparse(target) for target in getattr(node, "targets", [])]
        if names and names[0] in ("ONLY_OURS", "ONLY_BVLC"):
            named = ast.literal_eval(node.value)  # type: ignore[attr-defined]
            assert set(named) <= tests
            assert all(named.values())


def test_the_runner_tells_each_tests_outcome(tmp_path: Path) -> None:
    (tmp_path / "test_sample.py").write_text(SAMPLE)
    command = [sys.executable, str(FOLDER / "run.py"), str(tmp_path / "test_sample.py")]
    done = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ))
    found = lines(done.stdout)
    assert [(line["test"], line["outcome"]) for line in found] == [
        ("test_passes", "passed"),
        ("test_finds_an_empty_folder", "passed"),
        ("test_fails", "failed"),
        ("test_a_dies", "died"),
        ("test_skipped", "skipped"),
    ]
    assert "AssertionError: two" in found[2]["says"]
    assert found[4]["says"] == "the reason"
    assert done.returncode == 1


def test_file_names_are_unlike_those_beside() -> None:
    """pytest imports test files by their bare names."""
    assert not set(FILES) & {path.name for path in FOLDER.parent.glob("test_*.py")}
