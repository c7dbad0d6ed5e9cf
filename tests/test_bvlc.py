"""Whose Caffe answers where tests ask BVLC's build."""

from __future__ import annotations

import json
from pathlib import Path

import bvlc as bvlc_build
import pytest

WHO_ANSWERS = """
import json, sys
try:
    import recaffe
    ours = recaffe.__file__
except ImportError:
    ours = None
try:
    import caffetools
    tools = caffetools.__file__
except ImportError:
    tools = None
import caffe
from caffe.proto import caffe_pb2
json.dump([caffe.__file__, caffe_pb2.__file__, caffe.__version__, ours, tools], sys.stdout)
"""


@pytest.mark.oracle
def test_caffe_there_is_bvlcs_own_and_ours_is_out_of_its_sight(
    bvlc: bvlc_build.Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(bvlc_build.CAFFETOOLS.parent))
    module, messages, version, ours, tools = bvlc.python(WHO_ANSWERS).json()
    assert module == "/usr/lib/python3/dist-packages/caffe/__init__.py"
    assert messages == "/usr/lib/python3/dist-packages/caffe/proto/caffe_pb2.py"
    assert version == "1.0.0"
    assert ours is None
    assert tools is None


@pytest.mark.oracle
def test_caffetools_can_be_shown_to_it_alone(bvlc: bvlc_build.Build) -> None:
    module, _, _, ours, tools = bvlc.python(WHO_ANSWERS, caffetools=True).json()
    assert module == "/usr/lib/python3/dist-packages/caffe/__init__.py"
    assert ours is None
    assert tools.startswith("/work/")


@pytest.mark.oracle
def test_files_go_in_and_come_back_and_nothing_stays(bvlc: bvlc_build.Build) -> None:
    before = set((bvlc.root / "work").iterdir())
    copy = "import shutil, sys; shutil.copy(sys.argv[1], 'out')"
    result = bvlc.python(copy, "in/data", files={"in/data": b"\0content"}, fetch=["out"])
    assert result.files == {"out": b"\0content"}
    assert set((bvlc.root / "work").iterdir()) == before


@pytest.mark.oracle
def test_failure_shows_the_programs_own_words(bvlc: bvlc_build.Build) -> None:
    with pytest.raises(bvlc_build.BvlcError, match="no such solver"):
        bvlc.python("raise SystemExit('no such solver')")


@pytest.mark.oracle
@pytest.mark.parametrize("threads", [1, 2])
def test_its_matrix_products_are_right(bvlc: bvlc_build.Build, threads: int) -> None:
    """OpenBLAS of that age has picked wrong kernels on some later processors."""
    script = """
import json, sys
import numpy as np
errors = []
for m, k, n in [(1, 500, 64), (64, 500, 800), (256, 1200, 729), (33, 77, 129)]:
    rng = np.random.RandomState(0)
    a, b = rng.randn(m, k).astype('f'), rng.randn(k, n).astype('f')
    exact = a.astype('d') @ b.astype('d')
    scale = np.abs(a).astype('d') @ np.abs(b).astype('d')
    for product in (a @ b, (b.T @ a.T).T, np.dot(a, np.asfortranarray(b))):
        errors.append(float((np.abs(product - exact) / scale).max()))
json.dump(errors, sys.stdout)
"""
    assert max(bvlc.python(script, threads=threads).json()) < 1e-6


def test_fixture_skips_with_a_reason_where_the_build_is_absent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECAFFE_BVLC", str(tmp_path / "nothing"))
    with pytest.raises(bvlc_build.BvlcError, match="make bvlc"):
        bvlc_build.find()


def test_result_reads_json() -> None:
    assert bvlc_build.Result(0, json.dumps({"a": 1}), "").json() == {"a": 1}
