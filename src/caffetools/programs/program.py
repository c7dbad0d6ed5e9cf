"""What the programs share: flags as gflags reads them, mistakes in a line."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn, Optional

from caffetools import cli
from caffetools.cli import ToolError

LOG = logging.getLogger("caffetools.programs")
# Flags of glog, by which these programs' log is not steered: it goes to standard error, whole.
_LOG_SWITCHES = ("alsologtostderr", "colorlogtostderr", "log_prefix", "logtostderr")
_LOG_FLAGS = ("log_dir", "max_log_size", "minloglevel", "stderrthreshold", "v", "vmodule")
_TRUE = ("true", "t", "yes", "y", "1")
_FALSE = ("false", "f", "no", "n", "0")


class Parser(argparse.ArgumentParser):
    """Takes ``-flag x``, ``--flag x``, ``-flag=x``; switches also ``-noflag``, ``-flag=true``.

    Names are written out, and the last of several counts. Flags of glog are taken, and ignored.
    """

    def __init__(self, name: str, description: str) -> None:
        super().__init__(prog=name, description=description, allow_abbrev=False)
        self._flags, self._switches = {*_LOG_FLAGS}, {"h", "help", *_LOG_SWITCHES}
        self.switch("debug", "show the traceback of a mistake")

    def flag(self, name: str, text: str, **options: Any) -> None:
        """A flag that takes a value."""
        self._flags.add(name)
        self.add_argument(f"-{name}", f"--{name}", help=text, **options)

    def switch(self, name: str, text: str) -> None:
        """A flag that is true or false, and false unless it is given."""
        self._switches.add(name)
        self.add_argument(f"-{name}", f"--{name}", action="store_true", help=text)

    def read(self, arguments: Sequence[str]) -> argparse.Namespace:
        """The values of the flags, and the other arguments."""
        given: dict[str, str] = {}
        others: list[str] = []
        rest = iter(arguments)
        for argument in rest:
            if argument == "--":
                others.extend(rest)
            elif not argument.startswith("-") or argument == "-":
                others.append(argument)
            else:
                name, value = self._flag(argument, rest)
                given[name] = value
        for name in (*_LOG_FLAGS, *_LOG_SWITCHES):
            given.pop(name, None)
        switched = [f"--{name}" for name in self._switches if given.get(name) in _TRUE]
        valued = [f"--{name}={given[name]}" for name in given if name in self._flags]
        return self.parse_args([*switched, *valued, *(["--", *others] if others else [])])

    def error(self, message: str) -> NoReturn:
        self.exit(1, f"error: {message}; {self.prog} --help tells what it takes\n")

    def _flag(self, argument: str, rest: Iterator[str]) -> tuple[str, str]:
        """The name and the value of a flag; it may stand in the next argument."""
        name, equals, value = argument[2 if argument.startswith("--") else 1 :].partition("=")
        if name.startswith("no") and name[2:] in self._switches:
            return name[2:], "false"
        if name in self._switches:
            if equals and value.lower() not in (*_TRUE, *_FALSE):
                self.error(f"illegal value '{value}' for the switch {name}")
            return name, value.lower() if equals else "true"
        if name not in self._flags:
            self.error(f"unknown flag '{argument}'")
        found = value if equals else next(rest, None)
        if found is None:
            self.error(f"flag '{argument}' is missing its value")
        return name, found


def run(parser: Parser, command: Callable[[argparse.Namespace], None]) -> None:
    """Run ``command`` on the flags and exit; with ``-debug`` a mistake shows its traceback."""

    def main(arguments: Sequence[str]) -> Optional[int]:
        options = parser.read(arguments)
        try:
            command(options)
        except Exception:
            if options.debug:
                LOG.exception("a mistake:")
            raise
        return None

    cli.run(main)


def number(least: int) -> Callable[[str], int]:
    """A whole number that is at least ``least``, for argparse's ``type``."""

    def whole_number(text: str) -> int:
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"expected at least {least}, found {value}")
        return value

    return whole_number


def require_file(path: Path, what: str) -> None:
    """Raise :class:`ToolError` unless there is a file ``path``."""
    if not path.is_file():
        raise ToolError(f"{path}: no such {what}")
