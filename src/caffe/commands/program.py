"""What the programs share: flags as gflags reads them, errors in a line."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from caffe import glog
from recaffe.errors import CaffeError

LOG = logging.getLogger("caffe.commands")
VERSION = "1.0.0"


def info(place: tuple[str, int], message: str, *values: Any) -> None:
    """Log a line as one of Caffe's programs does, from that place of its source."""
    LOG.info(message, *values, extra={"place": place})


class Parser(argparse.ArgumentParser):
    """Takes ``-flag x``, ``--flag x``, ``-flag=x`` and ``--flag=x``, and glog's own flags."""

    def __init__(self, prog: str, description: str) -> None:
        super().__init__(
            prog=prog,
            description=description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
            add_help=False,
        )
        self.add_argument("-h", "-help", "--help", action="help", help="show this and exit")
        self.add_argument(
            "-version", "--version", action="version", version=f"{prog} version {VERSION}"
        )
        self.switch("debug", "show the traceback of an error")
        log = self.add_argument_group("log")
        for name, kind, text in (
            ("minloglevel", int, "log from here up: 0 INFO, 1 WARNING, 2 ERROR, 3 FATAL"),
            ("logtostderr", _truth, "log to standard error only, to no files"),
            ("log_dir", str, "the folder of the log files"),
        ):
            bare: dict[str, Any] = {"nargs": "?", "const": True} if kind is _truth else {}
            log.add_argument(f"-{name}", f"--{name}", type=kind, help=text, **bare)

    def flag(self, name: str, text: str, kind: Any = str, default: Any = "") -> None:
        shown = f" (default: {default})" if default != "" else ""
        self.add_argument(f"-{name}", f"--{name}", type=kind, default=default, help=text + shown)

    def switch(self, name: str, text: str) -> None:
        self.add_argument(f"-{name}", f"--{name}", action="store_true", help=text)

    def error(self, message: str) -> NoReturn:
        self.exit(1, f"ERROR: {message}\n")


def _truth(text: str) -> bool:
    return glog.is_true(text)


def run(
    parser: Parser,
    command: Callable[[argparse.Namespace], int | None],
    arguments: Sequence[str] | None = None,
    also_to_stderr: bool = True,
) -> int:
    """Run a program: 0 if all went well, 1 on a mistake, which is told in a line."""
    options = parser.parse_args(arguments)
    settings = glog.settings()
    settings.also_to_stderr = settings.also_to_stderr or also_to_stderr
    for given, name in (
        (options.minloglevel, "minimum"),
        (options.logtostderr, "to_stderr"),
        (options.log_dir, "folder"),
    ):
        if given is not None:
            setattr(settings, name, given)
    glog.start(parser.prog)
    try:
        return command(options) or 0
    except (CaffeError, OSError) as error:
        if options.debug:
            raise
        LOG.critical("%s", error, extra={"place": (f"{parser.prog}.cpp", 0)})
        return 1


def main(*parts: Any) -> NoReturn:
    """Run and exit."""
    sys.exit(run(*parts))
