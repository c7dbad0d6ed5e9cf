"""Arguments as gflags reads them.

``-flag x``, ``--flag x``, ``-flag=x``, ``--flag=x``; of a switch ``-flag``, ``-noflag`` and
``-flag=false``. Names are written out, the last of several counts, and what follows ``--`` is no
flag. ``-flagfile=names`` takes more flags from files, ``-fromenv=flags`` and ``-tryfromenv=flags``
from variables ``FLAGS_flag`` of the environment, and ``-undefok=flags`` lets flags be unknown.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path

SOURCES = ("flagfile", "fromenv", "tryfromenv", "undefok")
_TRUE = ("1", "t", "true", "y", "yes")
_FALSE = ("0", "f", "false", "n", "no")


class FlagError(Exception):
    """Flags that cannot be read: says which, and why."""


def integer(text: str) -> int:
    """A whole number, in hexadecimal with ``0x`` before it."""
    return int(text, 16 if text.lower().startswith("0x") else 10)


class Flags:
    """What the arguments of a program say.

    Args:
        program: its name, which sections of flag files may ask for.
        valued, switches: the names of its flags.

    Attributes:
        values: the text of each flag that is given, by its name; for a switch ``true`` or so.
        others: the arguments that are no flags.

    Raises:
        FlagError: unknown flags, a value that is missing, a file that cannot be read.
    """

    def __init__(
        self,
        program: str,
        valued: Collection[str],
        switches: Collection[str],
        arguments: Sequence[str],
    ) -> None:
        self.values: dict[str, str] = {}
        self.others: list[str] = []
        self._program, self._valued, self._switches = program, (*valued, *SOURCES), switches
        self._unknown: list[str] = []
        self._being_read: list[str] = []
        self._read(iter(arguments))
        allowed = self.values.get("undefok", "").split(",")
        unknown = [name for name in self._unknown if name not in allowed]
        if unknown:
            raise FlagError(", ".join(f"unknown command line flag '{name}'" for name in unknown))

    def truth(self, name: str) -> bool:
        """The value of a switch that is given.

        Raises:
            FlagError: neither true nor false.
        """
        text = self.values[name]
        if text.lower() not in (*_TRUE, *_FALSE):
            raise FlagError(f"illegal value '{text}' specified for bool flag '{name}'")
        return text.lower() in _TRUE

    def _read(self, arguments: Iterator[str]) -> None:
        for argument in arguments:
            if argument == "--":
                self.others.extend(arguments)
            elif not argument.startswith("-") or argument == "-":
                self.others.append(argument)
            else:
                self._read_flag(argument, arguments)

    def _read_flag(self, argument: str, following: Iterator[str]) -> None:
        name, equals, value = _bare(argument).partition("=")
        if name in self._switches:
            self._set(name, value if equals else "true")
        elif name in self._valued:
            given = value if equals else next(following, None)
            if given is None:
                raise FlagError(f"flag '{argument}' is missing its argument")
            self._set(name, given)
        elif name.startswith("no") and name[2:] in self._switches:
            self._set(name[2:], "false")
        elif name.startswith("no") and name[2:] in self._valued:
            raise FlagError(f"flag '{name[2:]}' takes a value, so there is no '-{name}'")
        else:
            self._unknown.append(name)

    def _set(self, name: str, value: str) -> None:
        self.values[name] = value
        names = [part for part in value.split(",") if part]
        if name == "flagfile":
            for path in names:
                self._read_file(path)
        elif name in ("fromenv", "tryfromenv"):
            for flag in names:
                self._read_variable(flag, must_be=name == "fromenv")

    def _read_file(self, path: str) -> None:
        """A flag a line; lines without ``-`` name the programs that those after them are for."""
        if path in self._being_read:
            raise FlagError(f"{path}: this flag file reads itself; take -flagfile={path} out of it")
        try:
            lines = Path(path).read_text(encoding="utf-8", errors="surrogateescape").splitlines()
        except OSError as error:
            raise FlagError(f"{path}: {error.strerror}") from None
        self._being_read.append(path)
        self._read_lines(lines)
        self._being_read.pop()

    def _read_lines(self, lines: Sequence[str]) -> None:
        is_ours, names_before = True, False
        for line in map(str.strip, lines):
            if not line or line.startswith("#"):
                continue
            if not line.startswith("-"):
                fits = any(fnmatch(self._program, pattern) for pattern in line.split())
                is_ours = fits or (names_before and is_ours)
                names_before = True
                continue
            names_before = False
            if is_ours:
                self._read_line(line)

    def _read_line(self, line: str) -> None:
        """A flag of a file, which gflags passes over where it is unknown or lacks its value."""
        name, equals, _ = _bare(line).partition("=")
        switch = name in self._switches or name.removeprefix("no") in self._switches
        if switch or (equals and name in self._valued):
            self._read_flag(line, iter(()))

    def _read_variable(self, flag: str, must_be: bool) -> None:
        value = os.environ.get(f"FLAGS_{flag}")
        if value is not None and flag in (*self._valued, *self._switches):
            self._set(flag, value)
        elif must_be:
            raise FlagError(f"FLAGS_{flag} not found in environment")


def _bare(argument: str) -> str:
    return argument[2:] if argument.startswith("--") else argument[1:]
