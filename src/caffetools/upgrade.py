"""Bringing nets of Caffe's older formats to today's, with the program each Caffe has for it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from caffetools.cli import ToolError

PROGRAM = "upgrade_net_proto_text"


def upgraded(path: Path) -> str:
    """The text of the net in ``path``, whose layers are in the form ``layers { }``, upgraded."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "net.prototxt"
        command = [_program(path), str(path), str(target)]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace")
        if done.returncode != 0 or not target.is_file():
            said = done.stderr.strip().splitlines() or ["it said nothing"]
            raise ToolError(
                f"{path}: its layers are written `layers {{ }}`, the form before Caffe's 2014 "
                f"schema, and {PROGRAM} does not upgrade it (status {done.returncode}): {said[-1]}"
            )
        return target.read_text(encoding="utf-8")


def _program(path: Path) -> str:
    """The program that came with the Caffe of this interpreter, else the one on the PATH."""
    beside = Path(sys.executable).with_name(PROGRAM)
    found = str(beside) if beside.is_file() else shutil.which(PROGRAM)
    if found is None:
        raise ToolError(
            f"{path}: its layers are written `layers {{ }}`, the form before Caffe's 2014 schema; "
            f"{PROGRAM}, which upgrades it, is neither beside {sys.executable} nor on the PATH: "
            "put Caffe's programs there, or write the file in today's form"
        )
    return found
