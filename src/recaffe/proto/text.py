"""Prototxt files: nets and solvers as text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from google.protobuf import text_format

from recaffe.errors import FormatError, PrototxtError
from recaffe.files import write_whole
from recaffe.proto.parser import ParseError, parse_into
from recaffe.proto.schema import NetParameter, SolverParameter
from recaffe.proto.upgrade import upgrade_net, upgrade_solver


def read_message(path: str | Path, message: Any) -> Any:
    """Parse the prototxt at ``path`` into ``message`` and return it.

    Raises:
        PrototxtError: names the file, line and column, and suggests a field or an enum value.
        FormatError: no such file.
    """
    path = Path(path)
    try:
        text = path.read_bytes().decode("utf-8", "surrogateescape")
    except FileNotFoundError:
        raise FormatError(f"{path}: no such file") from None
    except OSError as error:
        raise FormatError(f"{path}: cannot be read as a prototxt: {error.strerror}") from None
    try:
        parse_into(text, message)
    except ParseError as error:
        raise PrototxtError(f"{path}:{error.line}:{error.column}: {error}") from None
    return message


def read_net(path: str | Path) -> Any:
    """The NetParameter in the prototxt at ``path``, in today's form."""
    return upgrade_net(read_message(path, NetParameter()), str(path))


def read_solver(path: str | Path) -> Any:
    """The SolverParameter in the prototxt at ``path``, in today's form.

    Where it names no ``snapshot_prefix``, or only a folder, snapshots are named after the file.
    """
    solver = upgrade_solver(read_message(path, SolverParameter()), str(path))
    stem = Path(path).with_suffix("")
    if not solver.HasField("snapshot_prefix"):
        solver.snapshot_prefix = str(stem)
    elif solver.snapshot_prefix and Path(solver.snapshot_prefix).is_dir():
        solver.snapshot_prefix = str(Path(solver.snapshot_prefix) / stem.name)
    return solver


def write_message(path: str | Path, message: Any) -> None:
    """Write ``message`` as prototxt, whole or not at all."""
    write_whole(Path(path), [text_format.MessageToString(message).encode()])
