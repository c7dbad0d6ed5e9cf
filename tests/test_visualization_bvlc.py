"""The tests of caffetools.visualization, tests/visualization/test_*.py, under BVLC's interpreter.

pytest collects these files as they are, for this build.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from bvlc import Build

TESTS = Path(__file__).parent
FOLDER = TESTS / "visualization"
FILES = sorted(path.name for path in FOLDER.glob("test_*.py"))

pytestmark = pytest.mark.oracle


@pytest.mark.parametrize("name", FILES)
def test_the_same_file_passes_on_bvlcs_build(bvlc: Build, name: str) -> None:
    with bvlc.workplace({path.name: path for path in FOLDER.glob("*.py")}) as place:
        done = place.python(TESTS / "pycaffe" / "run.py", name, caffetools=True, check=False)
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert found, done.stderr
    assert {line["caffe"] for line in found} == {"/usr/lib/python3/dist-packages/caffe/__init__.py"}
    wrong = [line for line in found if line["outcome"] in ("failed", "died")]
    words = "\n".join(f"{line['test']} {line['outcome']}: {line['says']}" for line in wrong)
    assert not wrong, f"{words}\n{done.stderr[-4000:]}"
    assert done.status == 0, done.stderr
