"""Tests of caffetools that run on both builds, here under BVLC's interpreter.

pytest collects the same files of tests/monitoring, records and visualization as they are, for this
build.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from bvlc import Build

TESTS = Path(__file__).parent
FILES = sorted(
    path
    for folder in ("monitoring", "records", "visualization")
    for path in (TESTS / folder).glob("test_*.py")
)

pytestmark = pytest.mark.oracle


@pytest.mark.parametrize("file", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_the_same_file_passes_on_bvlcs_build(bvlc: Build, file: Path) -> None:
    with bvlc.workplace({path.name: path for path in file.parent.glob("*.py")}) as place:
        done = place.python(TESTS / "pycaffe" / "run.py", file.name, caffetools=True, check=False)
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert found, done.stderr
    assert {line["caffe"] for line in found} == {"/usr/lib/python3/dist-packages/caffe/__init__.py"}
    wrong = [line for line in found if line["outcome"] in ("failed", "died")]
    words = "\n".join(f"{line['test']} {line['outcome']}: {line['says']}" for line in wrong)
    assert not wrong, f"{words}\n{done.stderr[-4000:]}"
    assert done.status == 0, done.stderr
