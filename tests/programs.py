"""Running Caffe's programs of caffetools as users do, for tests of them."""

from __future__ import annotations

import contextlib
import io
import logging
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from unittest import mock

import pytest

SET_BY_PROGRAMS = ("caffetools", "recaffe.making")  # loggers, whose level they set


def program(folder: Path, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a program in ``folder``; whatever its status is."""
    run = [sys.executable, "-m", "caffetools.programs", name, *arguments]
    return subprocess.run(run, cwd=folder, capture_output=True, text=True)


def assert_mistake(done: subprocess.CompletedProcess[str], words: str) -> None:
    """The program ended with 1 and told a mistake in its last line, which has ``words``."""
    assert "Traceback" not in done.stderr
    _assert_told(done.returncode, done.stderr, words)


def assert_mistake_within(folder: Path, words: str, name: str, *arguments: str) -> None:
    """As :func:`assert_mistake`, of a program run here, where torch is loaded already."""
    told, logger = io.StringIO(), logging.getLogger("caffetools")
    levels = {each: logging.getLogger(each).level for each in SET_BY_PROGRAMS}
    handler = logging.StreamHandler(told)
    logger.addHandler(handler)
    try:
        with (
            contextlib.chdir(folder),
            contextlib.redirect_stderr(told),
            mock.patch.object(sys, "argv", [name, *arguments]),
            pytest.raises(SystemExit) as done,
        ):
            import_module(f"caffetools.programs.{name}").main()
    finally:
        logger.removeHandler(handler)
        for each, level in levels.items():
            logging.getLogger(each).setLevel(level)
    _assert_told(done.value.code, told.getvalue(), words)


def _assert_told(status: object, text: str, words: str) -> None:
    assert status == 1
    last = text.splitlines()[-1]
    assert last.startswith("error: ")
    assert words in last
