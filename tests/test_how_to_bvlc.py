"""The how-to pages' Python under BVLC's interpreter."""

from __future__ import annotations

from pathlib import Path

import pytest
from bvlc import Build
from how_to import FOLDER as PAGES
from how_to import OURS_ALONE, prepare, script

pytestmark = pytest.mark.oracle


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
