"""What the programs share: flags as gflags reads them, mistakes in a line."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NoReturn, Optional

from caffetools import cli
from caffetools.cli import ToolError

LOG = logging.getLogger("caffetools.programs")
_TRUE = ("", "true", "t", "yes", "y", "1")
_FALSE = ("false", "f", "no", "n", "0")


class Parser(argparse.ArgumentParser):
    """Takes ``-flag x``, ``--flag x``, ``-flag=x``; switches also ``-noflag``, ``-flag=true``."""

    def __init__(self, name: str, description: str) -> None:
        super().__init__(prog=name, description=description, allow_abbrev=False)
        self._switches = {"debug"}
        self.switch("debug", "show the traceback of a mistake")

    def flag(self, name: str, text: str, **options: object) -> None:
        """A flag that takes a value."""
        self.add_argument(f"-{name}", f"--{name}", help=text, **options)  # type: ignore[arg-type]

    def switch(self, name: str, text: str) -> None:
        """A flag that is true or false, and false unless it is given."""
        self._switches.add(name)
        self.add_argument(f"-{name}", f"--{name}", action="store_true", help=text)

    def read(self, arguments: Sequence[str]) -> argparse.Namespace:
        """The values of the flags."""
        return self.parse_args(list(self._plain(arguments)))

    def error(self, message: str) -> NoReturn:
        self.exit(1, f"error: {message}; {self.prog} --help tells what it takes\n")

    def _plain(self, arguments: Sequence[str]) -> Iterator[str]:
        """The arguments, without gflags' ``-switch=true``, ``-switch=false`` and ``-noswitch``."""
        for argument in arguments:
            name, _, value = argument.lstrip("-").partition("=")
            if not argument.startswith("-"):
                yield argument
            elif name in self._switches and value in (*_TRUE, *_FALSE):
                if value in _TRUE:
                    yield f"--{name}"
            elif name not in {f"no{switch}" for switch in self._switches}:
                yield argument


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

    # Where numbers are printed to a pipe, what is logged of them comes after.
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
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
