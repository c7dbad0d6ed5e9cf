"""Reading in a process of its own, which a damaged file may end.

LMDB maps its file into memory: a page that the file does not have, or whose numbers lead
nowhere, ends the process that looks at it.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Optional

from caffetools.cli import ToolError

Main = Callable[[Sequence[str]], Optional[int]]

_ENDS = {
    signal.SIGBUS: "the file ends before its last page: it was not written, or copied, to its end",
    signal.SIGSEGV: "its pages are damaged",
    signal.SIGABRT: "its pages are damaged",
}


def run_apart(main: Main, place: Callable[[Sequence[str]], Path]) -> Main:
    """``main`` in a process of its own; raises :class:`ToolError` where the file ends that.

    ``place`` tells by the arguments what is read.
    Where nobody reads standard output any more, as behind ``| head``, it stops without a word.
    """

    def run(arguments: Sequence[str]) -> Optional[int]:
        read = place(arguments)
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            return _until_nobody_reads(main, arguments)

        def pass_on(number: int, frame: Any) -> None:
            os.kill(child, number)

        signal.signal(signal.SIGTERM, pass_on)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # which the terminal tells both
        status = os.waitpid(child, 0)[1]
        if os.WIFEXITED(status):
            return os.WEXITSTATUS(status)
        ended_by = os.WTERMSIG(status)
        if ended_by in _ENDS:
            raise ToolError(
                f"{read}: reading it was ended by {signal.Signals(ended_by).name}: "
                f"{_ENDS[signal.Signals(ended_by)]}; make the database again, or copy it again"
            )
        return 128 + ended_by

    return run


def _until_nobody_reads(main: Main, arguments: Sequence[str]) -> Optional[int]:
    try:
        status = main(arguments)
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        # So that the flush at Python's end does not tell of it either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
