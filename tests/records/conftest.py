"""What tests/pycaffe/run.py gives its tests, given under pytest."""

from __future__ import annotations

from pathlib import Path

import pytest

from recaffe.context import context


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    context.use_cpu()
