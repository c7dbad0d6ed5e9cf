"""BVLC's build: how it is made and found, and how commands run on it."""

from __future__ import annotations

from pathlib import Path

import pytest

from caffetools.bvlc import build
from caffetools.cli import ToolError


def test_place_of_the_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("RECAFFE_BVLC", raising=False)
    assert build.place() == tmp_path / "recaffe" / "bvlc"
    monkeypatch.setenv("RECAFFE_BVLC", str(tmp_path / "mine"))
    assert build.place() == tmp_path / "mine"


def test_half_a_build_is_never_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks_off(target: Path, mirror: str) -> None:
        (target / "usr").mkdir(parents=True)
        raise ToolError("the mirror went away")

    monkeypatch.setenv("RECAFFE_BVLC", str(tmp_path / "bvlc"))
    monkeypatch.setattr(build, "_debootstrap", breaks_off)
    monkeypatch.setattr(build.os, "geteuid", lambda: 0)
    monkeypatch.setattr(build.shutil, "which", lambda name: f"/usr/sbin/{name}")
    with pytest.raises(ToolError, match="the mirror went away"):
        build.build("http://mirror.invalid/debian")
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
    monkeypatch.setattr(build.os, "geteuid", lambda: 0 if root else 1000)
    monkeypatch.setattr(build.shutil, "which", lambda name: "there" if debootstrap else None)
    with pytest.raises(ToolError, match=message):
        build.build()


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
    assert build.debian_mirror(tmp_path, "bookworm") == "http://near.invalid/debian"


def test_no_mirror_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "sources.list").write_text(OTHER_VENDOR)
    with pytest.raises(ToolError, match="--mirror"):
        build.debian_mirror(tmp_path, "bookworm")
