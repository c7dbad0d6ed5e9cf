"""What the programs share: flags as gflags reads them, errors in a line."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from caffe import glog
from caffe.commands.flags import SOURCES, FlagError, Flags, integer
from recaffe.errors import CaffeError

LOG = logging.getLogger("caffe.commands")
VERSION = "1.0.0"

# glog's flags: what our log obeys, by the name of the setting, and what it has no use for.
_OBEYED: dict[str, tuple[str, Any, str]] = {
    "minloglevel": ("minimum", integer, "log from here up: 0 INFO, 1 WARNING, 2 ERROR, 3 FATAL"),
    "logtostderr": ("to_stderr", bool, "log to standard error only, to no files"),
    "alsologtostderr": ("also_to_stderr", bool, "log to standard error as well"),
    "stderrthreshold": (
        "stderr_threshold",
        integer,
        "log to standard error as well from here up, where not everything goes there",
    ),
    "log_dir": ("folder", str, "the folder of the log files"),
    "log_prefix": ("prefix", bool, "begin lines with severity, time, file and line"),
}
_IGNORED_SWITCHES = (
    *("colorlogtostderr", "drop_log_memory", "stop_logging_if_full_disk"),
    "symbolize_stacktrace",
)
_IGNORED = (
    *("alsologtoemail", "log_backtrace_at", "log_link", "logbuflevel", "logbufsecs"),
    *("logemaillevel", "logfile_mode", "logmailer", "max_log_size", "v", "vmodule"),
)
_EPILOG = (
    f"Also taken: {', '.join(f'-{name}' for name in SOURCES)}, as gflags does; and without effect "
    f"{', '.join(f'-{name}' for name in (*_IGNORED_SWITCHES, *_IGNORED))}. "
    "A switch is set by -x or -x=true, and unset by -nox or -x=false."
)


def info(place: tuple[str, int], message: str, *values: Any) -> None:
    """Log a line as one of Caffe's programs does, from that place of its source."""
    LOG.info(message, *values, extra={"place": place})


class Parser(argparse.ArgumentParser):
    """Takes flags as :mod:`caffe.commands.flags` reads them, and glog's own."""

    def __init__(self, prog: str, description: str) -> None:
        super().__init__(
            prog=prog,
            description=description,
            epilog=_EPILOG,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
            add_help=False,
        )
        self._valued: set[str] = set(_IGNORED)
        self._switches = {"debug", *_IGNORED_SWITCHES}
        self._first = {"h", "help", "helpshort", "helpfull", "helppackage", "version"}
        self.add_argument("-h", "-help", "--help", action="help", help="show this and exit")
        self.add_argument(
            "-version", "--version", action="version", version=f"{prog} version {VERSION}"
        )
        self.switch("debug", "show the traceback of an error")
        log = self.add_argument_group("log")
        for name, (_, kind, text) in _OBEYED.items():
            bare: dict[str, Any] = {"nargs": "?"} if kind is bool else {}
            (self._switches if kind is bool else self._valued).add(name)
            log.add_argument(f"-{name}", f"--{name}", type=kind, help=text, **bare)

    def flag(self, name: str, text: str, kind: Any = str, default: Any = "") -> None:
        """A flag that takes a value."""
        self._valued.add(name)
        shown = f" (default: {default})" if default != "" else ""
        self.add_argument(f"-{name}", f"--{name}", type=kind, default=default, help=text + shown)

    def switch(self, name: str, text: str) -> None:
        """A flag that is true or false, and false unless it is given."""
        self._switches.add(name)
        self.add_argument(f"-{name}", f"--{name}", action="store_true", help=text)

    def read(self, arguments: Sequence[str]) -> argparse.Namespace:
        """The values of the flags, and the other arguments."""
        try:
            flags = Flags(self.prog, self._valued, self._switches | self._first, arguments)
            given = {name: flags.truth(name) for name in self._switches & {*flags.values}}
            asked = {name for name in self._first & {*flags.values} if flags.truth(name)}
        except FlagError as error:
            self.error(str(error))
        if asked:
            self.parse_args(["--version" if "version" in asked else "--help"])
        known = self._valued - {*_IGNORED}
        valued = [f"--{name}={text}" for name, text in flags.values.items() if name in known]
        others = ["--", *flags.others] if flags.others else []
        options = self.parse_args([*valued, *others])
        vars(options).update(given)
        return options

    def error(self, message: str) -> NoReturn:
        self.exit(1, f"ERROR: {message}\n")


def run(
    parser: Parser,
    command: Callable[[argparse.Namespace], int | None],
    arguments: Sequence[str] | None = None,
    also_to_stderr: bool = True,
) -> int:
    """Run a program: 0 if all went well, 1 on a mistake, which is told in a line."""
    settings = glog.settings()
    settings.also_to_stderr = settings.also_to_stderr or also_to_stderr
    options = parser.read(sys.argv[1:] if arguments is None else arguments)
    for name, (setting, _, _) in _OBEYED.items():
        if (given := getattr(options, name)) is not None:
            setattr(settings, setting, given)
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
