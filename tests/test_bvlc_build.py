"""BVLC's build: how it is made and found, and how commands run on it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import bvlc as bvlc_build
import pytest

from caffetools.bvlc import build, enter
from caffetools.bvlc.__main__ import start
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


@pytest.mark.oracle
def test_paths_mean_the_same_inside_and_nothing_stays_mounted(
    bvlc: bvlc_build.Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a file").write_text("from outside")
    words = enter.entering(bvlc.root)
    before = Path("/proc/self/mounts").read_text()
    script = 'pwd; cat "a file"; cat /etc/debian_version; echo made > inside; cat /proc/$$/comm'
    done = subprocess.run([*words, "/bin/sh", "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    folder, content, *rest = done.stdout.splitlines()
    assert folder == str(tmp_path)
    assert content.startswith("from outside11.")
    assert rest == ["sh"]
    assert (tmp_path / "inside").read_text() == "made\n"
    assert Path("/proc/self/mounts").read_text() == before


@pytest.mark.oracle
def test_a_command_runs_on_bvlcs_caffe_with_the_words_it_was_given(
    bvlc: bvlc_build.Build, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "caffetools.bvlc", "run", "caffetools.train", "--solver"]
    none = tmp_path / "no $(such) solver"
    said = subprocess.run(
        [*command, str(none), "--snapshots", "s", "--output", "o", "--history", "h"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": "/nowhere"},
        capture_output=True,
        text=True,
    )
    assert said.returncode == 1
    assert f"--solver: expected a file {none}, found none" in said.stderr
    assert "Traceback" not in said.stderr


def test_another_build_is_reached_through_its_words(tmp_path: Path) -> None:
    words = ["--through=echo", "--through", "two words", "caffetools.train", "--output", "a b"]
    done = subprocess.run(
        [sys.executable, "-m", "caffetools.bvlc", "run", *words], capture_output=True, text=True
    )
    assert done.stdout.startswith("two words python3 /")
    assert done.stdout.endswith("/caffetools/bvlc/alone.py caffetools.train --output a b\n")


def test_alone_shows_its_interpreter_nothing_but_the_package(tmp_path: Path) -> None:
    """Here with our interpreter, in isolation: neither environment nor checkout is in its path."""
    alone = Path(enter.__file__).with_name("alone.py")
    done = subprocess.run(
        [sys.executable, "-I", str(alone), "caffetools.files"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    done = subprocess.run(
        [sys.executable, "-S", "-I", str(alone), "caffe"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert "No module named caffe" in done.stderr


def test_only_commands_of_the_package_are_run() -> None:
    with pytest.raises(ToolError, match=r"run os: expected a command of this package"):
        start(["echo"], "os", [])


def test_a_way_that_leads_nowhere_is_told() -> None:
    with pytest.raises(ToolError, match="no-such-program: could not be started"):
        start(["no-such-program"], "caffetools.train", [])


def test_who_may_not_enter_is_told_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(command: list[str], **options: object) -> subprocess.CompletedProcess[bytes]:
        assert command[:4] == ["unshare", "--mount", "--user", "--map-root-user"]
        return subprocess.CompletedProcess(command, 1, b"", b"unshare failed: not permitted\n")

    monkeypatch.setattr(enter.os, "geteuid", lambda: 1000)
    monkeypatch.setattr(enter.subprocess, "run", refused)
    with pytest.raises(ToolError, match=r"\(unshare failed: not permitted\); run this as root"):
        enter.entering(tmp_path)


def test_a_folder_that_would_be_another_inside_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = subprocess.CompletedProcess([], 0, b"", b"")
    monkeypatch.setattr(enter.subprocess, "run", lambda *_, **__: done)
    monkeypatch.chdir("/usr/share")
    with pytest.raises(ToolError, match="/usr/share: is not to be seen in BVLC's build"):
        enter.entering(tmp_path)


def test_the_environment_in_there_leads_to_none_of_our_libraries() -> None:
    own = {"OMP_NUM_THREADS": "1", "PYTHONPATH": "src", "PATH": "/x", "LD_LIBRARY_PATH": "/y"}
    assert enter.environment(own) == {"OMP_NUM_THREADS": "1", **build.ENVIRONMENT}
