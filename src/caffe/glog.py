"""The log as glog writes it for Caffe, steered by the same variables of the environment.

::

    I1124 03:04:05.678901  1234 solver.cpp:239] Iteration 0 (0 iter/s, 0s/100 iters), loss = 2.3

The runtime logs through Python's :mod:`logging`. A program that set that up (a handler of the
root logger, or of ``recaffe``) gets the lines there, at the levels it chose, and none of them
here. Otherwise they go to standard error in glog's form: everything from ``GLOG_minloglevel``
up (0 INFO, 1 WARNING, 2 ERROR, 3 FATAL).

The ``caffe`` program, and whoever calls :func:`start`, opens log files too, as glog does unless
``GLOG_logtostderr`` is set: ``<program>.<host>.<user>.log.INFO.<time>.<pid>`` in
``GLOG_log_dir``, or in the system's folder for temporary files, with a link
``<program>.INFO`` to the newest.
"""

from __future__ import annotations

import contextlib
import getpass
import logging
import os
import platform
import sys
import tempfile
import threading
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TextIO

from caffe.places import place_of

ROOMS = ("recaffe", "caffe")
SEVERITIES = ("INFO", "WARNING", "ERROR", "FATAL")
# What the rooms' loggers let through; a level of its own, to tell it from one that users set.
_OUR_LEVEL = logging.INFO - 1


def _place(record: logging.LogRecord) -> tuple[str, int]:
    """Caffe's file and line; for what only we say, our own."""
    named = getattr(record, "place", None)
    return named if isinstance(named, tuple) else place_of(record)


def _severity(record: logging.LogRecord) -> int:
    if record.levelno >= logging.CRITICAL:
        return 3
    return max(0, record.levelno // 10 - 2)


class GlogFormatter(logging.Formatter):
    """``Lmmdd hh:mm:ss.uuuuuu threadid file:line] message``."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created)
        file, line = _place(record)
        head = (
            f"{SEVERITIES[_severity(record)][0]}{time:%m%d %H:%M:%S.%f} "
            f"{threading.get_native_id():5d} {file}:{line}] "
        )
        text = head + record.getMessage()
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return text


def _flag(name: str, default: str) -> str:
    return os.environ.get(f"GLOG_{name}", default)


def is_true(text: str) -> bool:
    """As glog reads a flag of the environment."""
    return text[:1] in ("", "t", "T", "y", "Y", "1")


def _number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        return 0


@dataclass
class Settings:
    """glog's flags, from the environment where it reads them there: not the threshold."""

    minimum: int = field(default_factory=lambda: _number(_flag("minloglevel", "0")))
    to_stderr: bool = field(default_factory=lambda: is_true(_flag("logtostderr", "0")))
    also_to_stderr: bool = field(default_factory=lambda: is_true(_flag("alsologtostderr", "0")))
    stderr_threshold: int = 2
    folder: str = field(default_factory=lambda: _flag("log_dir", ""))
    prefix: bool = field(default_factory=lambda: is_true(_flag("log_prefix", "1")))


_BARE = logging.Formatter("%(message)s")


class GlogHandler(logging.Handler):
    """Writes as glog does where nobody set up Python's logging; else hands the record on."""

    def __init__(self) -> None:
        super().__init__()
        self.settings = Settings()
        self.setFormatter(GlogFormatter())
        # Set by start(): until then glog writes everything to standard error.
        self._program = ""
        self._files: dict[int, TextIO | None] = {}

    def start(self, program: str) -> None:
        self._program = Path(program or "python").name

    def emit(self, record: logging.LogRecord) -> None:
        root = logging.getLogger()
        room = logging.getLogger(record.name.partition(".")[0])
        if root.handlers:
            if record.levelno >= _users_level(record.name):
                # Whoever minds that the rooms do not propagate, as pytest does, listens there.
                for handler in root.handlers:
                    if handler not in room.handlers and record.levelno >= handler.level:
                        handler.handle(record)
        elif room.handlers == [self] and _severity(record) >= self.settings.minimum:
            self._write(record)

    def _write(self, record: logging.LogRecord) -> None:
        try:
            line = (self if self.settings.prefix else _BARE).format(record) + "\n"
            severity, settings = _severity(record), self.settings
            to_files = bool(self._program) and not settings.to_stderr
            shown = settings.also_to_stderr or severity >= settings.stderr_threshold
            if not to_files or shown:
                sys.stderr.write(line)
                sys.stderr.flush()
            for level in range(severity + 1) if to_files else ():
                stream = self._file(level)
                if stream is not None:
                    stream.write(line)
                    stream.flush()
        except Exception:
            self.handleError(record)

    def _file(self, level: int) -> TextIO | None:
        if level not in self._files:
            # As in glog, a log that cannot be opened is no reason to stop.
            self._files[level] = None
            with contextlib.suppress(OSError):
                self._files[level] = self._open(level)
        return self._files[level]

    def _open(self, level: int) -> TextIO:
        folder = Path(self.settings.folder or tempfile.gettempdir())
        name, now, host = SEVERITIES[level], datetime.now(), platform.node()
        path = folder / (
            f"{self._program}.{host}.{_user()}.log.{name}.{now:%Y%m%d-%H%M%S}.{os.getpid()}"
        )
        stream = path.open("w", encoding="utf-8", errors="surrogateescape")
        stream.write(
            f"Log file created at: {now:%Y/%m/%d %H:%M:%S}\n"
            f"Running on machine: {host}\n"
            "Log line format: [IWEF]mmdd hh:mm:ss.uuuuuu threadid file:line] msg\n"
        )
        link = folder / f"{self._program}.{name}"
        with contextlib.suppress(OSError):
            link.unlink(missing_ok=True)
            link.symlink_to(path.name)
        return stream


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown-user"


def _users_level(name: str) -> int:
    """The level that holds for a logger, had we set none."""
    logger: logging.Logger | None = logging.getLogger(name)
    while logger is not None:
        if logger.level and logger.level != _OUR_LEVEL:
            return logger.level
        logger = logger.parent
    return logging.NOTSET


_handler = GlogHandler()


def install() -> None:
    """Let the runtime log in glog's form; ``import caffe`` does it, once."""
    for name in ROOMS:
        room = logging.getLogger(name)
        if _handler in room.handlers:
            continue
        room.addHandler(_handler)
        room.propagate = False
        if not room.level:
            room.setLevel(_OUR_LEVEL)


def settings() -> Settings:
    """glog's flags; change what is to be another way."""
    return _handler.settings


def start(program: str = "") -> None:
    """Begin to log as a program does: to files as well, unless ``settings().to_stderr``."""
    _handler.start(program)


def init_log(level: int | None = None, stderr: bool | None = None) -> None:
    """pycaffe's ``init_log()``, ``init_log(level)`` and ``init_log(level, stderr)``."""
    if level is not None:
        settings().minimum = level
    if stderr is not None:
        settings().to_stderr = stderr
    start()


def log(message: str) -> None:
    """pycaffe's ``log``: a line of severity INFO."""
    logging.getLogger("caffe").info("%s", message, extra={"place": ("_caffe.cpp", 68)})
