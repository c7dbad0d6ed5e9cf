"""Running Caffe's programs of caffetools as users do, for tests of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def program(folder: Path, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a program in ``folder``; whatever its status is."""
    run = [sys.executable, "-m", "caffetools.programs", name, *arguments]
    return subprocess.run(run, cwd=folder, capture_output=True, text=True)


def assert_mistake(done: subprocess.CompletedProcess[str], words: str) -> None:
    """The program ended with 1 and told a mistake in its last line, which has ``words``."""
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: ")
    assert words in last
