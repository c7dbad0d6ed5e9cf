"""Whose Caffe answers, and how its build is made and found."""

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
    with pytest.raises(bvlc_build.BvlcError, match="make oracle"):
        bvlc_build.find()


def test_place_of_the_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("RECAFFE_BVLC", raising=False)
    assert bvlc_build.place_of_build() == tmp_path / "recaffe" / "bvlc"
    monkeypatch.setenv("RECAFFE_BVLC", str(tmp_path / "mine"))
    assert bvlc_build.place_of_build() == tmp_path / "mine"


def test_half_a_build_is_never_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks_off(target: Path, mirror: str) -> None:
        (target / "usr").mkdir(parents=True)
        raise bvlc_build.BvlcError("the mirror went away")

    monkeypatch.setenv("RECAFFE_BVLC", str(tmp_path / "bvlc"))
    monkeypatch.setattr(bvlc_build, "_debootstrap", breaks_off)
    monkeypatch.setattr(bvlc_build.os, "geteuid", lambda: 0)
    monkeypatch.setattr(bvlc_build.shutil, "which", lambda name: f"/usr/sbin/{name}")
    with pytest.raises(bvlc_build.BvlcError, match="the mirror went away"):
        bvlc_build.build("http://mirror.invalid/debian")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("root", "debootstrap", "message"),
    [(False, True, "need root"), (True, False, "debootstrap is not installed")],
)
def test_what_hinders_building_is_named(
    root: bool,
    debootstrap: bool,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RECAFFE_BVLC", str(tmp_path / "bvlc"))
    monkeypatch.setattr(bvlc_build.os, "geteuid", lambda: 0 if root else 1000)
    monkeypatch.setattr(bvlc_build.shutil, "which", lambda name: "there" if debootstrap else None)
    with pytest.raises(bvlc_build.BvlcError, match=message):
        bvlc_build.build()


OTHER_VENDOR = "deb [signed-by=/k.gpg] https://vendor.invalid/apt tool-bookworm main\n"
ONE_LINE = "# deb http://old.invalid/debian bookworm main\n" + (
    "deb-src http://source.invalid/debian bookworm main\n"
    "deb http://security.invalid/debian-security bookworm-security main\n"
    "deb [arch=amd64 signed-by=/k.gpg] http://near.invalid/debian bookworm main contrib\n"
)
DEB822 = """# comment
Types: deb
URIs: http://off.invalid/debian
Suites: bookworm
Components: main
Enabled: no

Types: deb deb-src
URIs: http://near.invalid/debian
Suites: bookworm
 bookworm-updates
Components: main contrib
"""


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("sources.list", ONE_LINE),
        ("sources.list.d/a.list", ONE_LINE),
        ("sources.list.d/a.sources", DEB822),
    ],
)
def test_mirror_is_read_from_the_machines_own_apt_sources(
    name: str, text: str, tmp_path: Path
) -> None:
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list.d" / "0.list").write_text(OTHER_VENDOR)
    (tmp_path / name).write_text(text)
    assert bvlc_build._debian_mirror(tmp_path, "bookworm") == "http://near.invalid/debian"


def test_no_mirror_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "sources.list").write_text(OTHER_VENDOR)
    with pytest.raises(bvlc_build.BvlcError, match="--mirror"):
        bvlc_build._debian_mirror(tmp_path, "bookworm")


def test_result_reads_json() -> None:
    assert bvlc_build.Result(0, json.dumps({"a": 1}), "").json() == {"a": 1}
