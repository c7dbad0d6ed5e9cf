"""Silencing the log that Caffe writes to standard error; importable before Caffe is."""

from __future__ import annotations

import os
import sys

from caffetools.cli import ToolError

INFO, WARNING, ERROR, FATAL = range(4)
_set: list[int] = []


def silence_log(level: int = ERROR) -> None:
    """Let Caffe log nothing below ``level``: 0 all, 1 warnings, 2 errors, 3 what is fatal.

    It works before ``import caffe`` and after it. On BVLC's build a process can set its
    level once after the import, ``caffe.init_log`` counted. Raises :class:`ToolError` where
    the level is not one of these, and where it was set to another one before.
    """
    if level not in range(4):
        raise ToolError(f"expected a log level from 0 (all) to 3 (fatal), found {level!r}")
    os.environ["GLOG_minloglevel"] = str(level)  # noqa: SIM112
    caffe = sys.modules.get("caffe")
    if caffe is None or level in _set[-1:]:
        return
    if _set and hasattr(caffe, "_caffe"):
        raise ToolError(
            f"the log level is {_set[-1]} already, and BVLC's build ends the process when it is "
            "set again; set it once, before `import caffe` if you can"
        )
    caffe.init_log(level, True)
    _set.append(level)
