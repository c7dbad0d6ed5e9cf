"""Prototxt files: nets and solvers as text."""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import Any

from google.protobuf import text_format

from recaffe.errors import FormatError, PrototxtError
from recaffe.files import write_whole
from recaffe.proto.schema import POOL, NetParameter, SolverParameter
from recaffe.proto.upgrade import upgrade_net, upgrade_solver

_NO_FIELD = re.compile(r'type "(?P<type>[\w.]+)" has no field named "(?P<name>\w+)"')
_NO_VALUE = re.compile(r'type "(?P<type>[\w.]+)" has no value named (?P<name>\w+)')


def read_message(path: str | Path, message: Any) -> Any:
    """Parse the prototxt at ``path`` into ``message`` and return it.

    Raises:
        PrototxtError: names the file, line and column, and suggests a field or an enum value.
        FormatError: no such file, or not text.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise FormatError(f"{path}: no such file") from None
    except OSError as error:
        raise FormatError(f"{path}: cannot be read as a prototxt: {error.strerror}") from None
    except UnicodeDecodeError:
        raise FormatError(f"{path}: expected a prototxt, found a file that is not text") from None
    try:
        text_format.Parse(text, message, descriptor_pool=POOL)
    except text_format.ParseError as error:
        raise PrototxtError(f"{path}:{error}{_suggestion(str(error))}") from None
    return message


def _suggestion(error: str) -> str:
    names: list[str] = []
    if found := _NO_FIELD.search(error):
        names = list(POOL.FindMessageTypeByName(found["type"]).fields_by_name)
    elif found := _NO_VALUE.search(error):
        names = list(POOL.FindEnumTypeByName(found["type"]).values_by_name)
    close = difflib.get_close_matches(found["name"], names, n=1) if found else []
    return f"; did you mean '{close[0]}'?" if close else ""


def read_net(path: str | Path) -> Any:
    """The NetParameter in the prototxt at ``path``, in today's form."""
    return upgrade_net(read_message(path, NetParameter()), str(path))


def read_solver(path: str | Path) -> Any:
    """The SolverParameter in the prototxt at ``path``, in today's form."""
    return upgrade_solver(read_message(path, SolverParameter()), str(path))


def write_message(path: str | Path, message: Any) -> None:
    """Write ``message`` as prototxt, whole or not at all."""
    write_whole(Path(path), [text_format.MessageToString(message).encode()])
