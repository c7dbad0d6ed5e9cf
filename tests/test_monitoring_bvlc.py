"""The tests of caffetools.solvers, tests/monitoring/test_*.py, under BVLC's interpreter.

pytest collects these files as they are, for this build.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from bvlc import Build
from how_to import FOLDER as PAGES
from how_to import OURS_ALONE, prepare, script

TESTS = Path(__file__).parent
FOLDER = TESTS / "monitoring"
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


@pytest.mark.parametrize(
    "page",
    [page for page in sorted(PAGES.glob("*.md")) if script(page) and page.stem not in OURS_ALONE],
    ids=lambda path: path.stem,
)
def test_how_to_pages_run_on_bvlcs_build(bvlc: Build, page: Path, tmp_path: Path) -> None:
    left = prepare(page, tmp_path)
    with bvlc.workplace({path.name: path for path in tmp_path.iterdir()}) as place:
        place.python(script(page), caffetools=True)
        for name in left:
            assert (place.path / name).is_file()
