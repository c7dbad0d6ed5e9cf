"""What tests/pycaffe/run.py gives its tests, given under pytest."""

from __future__ import annotations

from pathlib import Path

import pytest
from run import reason_to_skip

from recaffe.context import context


@pytest.fixture(autouse=True)
def _empty_folder(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reason = reason_to_skip(request.module, request.node.name, bvlc=False)
    if reason is not None:
        pytest.skip(reason)
    monkeypatch.chdir(tmp_path)
    context.use_cpu()
    context.seed(1)
