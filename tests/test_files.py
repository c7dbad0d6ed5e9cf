"""What writers leave beside a result that they were killed at, and who removes it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import caffetools.files
import recaffe.files

WRITERS = [caffetools.files.whole_file, recaffe.files.whole_file, caffetools.files.whole_directory]
# A process that is killed while it writes.
KILLED = """
import os, signal, sys
from pathlib import Path
from {} import {} as writer
with writer(Path(sys.argv[1])) as partial:
    (partial / "part" if partial.is_dir() else partial).write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""

each_writer = pytest.mark.parametrize(
    "writer", WRITERS, ids=lambda writer: f"{writer.__module__}.{writer.__name__}"
)


def write(writer, path: Path) -> None:
    with writer(path) as partial:
        (partial / "part" if partial.is_dir() else partial).write_text("whole")


@each_writer
def test_the_next_writer_removes_what_a_killed_one_left(tmp_path: Path, writer) -> None:
    path = tmp_path / "results" / "a[b].txt"
    command = [sys.executable, "-c", KILLED.format(writer.__module__, writer.__name__), path]
    assert subprocess.run(command).returncode == -9
    assert [one.name.startswith(".a[b].txt.") for one in path.parent.iterdir()] == [True]
    write(writer, path.with_name("other.txt"))
    assert len(list(path.parent.iterdir())) == 2
    write(writer, path)
    assert sorted(one.name for one in path.parent.iterdir()) == ["a[b].txt", "other.txt"]


@each_writer
def test_what_somebody_still_writes_stays_and_so_does_what_is_another_s(
    tmp_path: Path, writer
) -> None:
    path = tmp_path / "a"
    others = [f".a.{os.getppid()}.partial", ".a.partial", ".a.b.partial", ".b.999999999.partial"]
    for name in others:
        (tmp_path / name).touch()
    (tmp_path / f".a.{10**30}.partial").touch()
    write(writer, path)
    assert sorted(one.name for one in tmp_path.iterdir()) == sorted(["a", *others])
