"""``upgrade_net_proto_text``, ``upgrade_net_proto_binary`` and ``upgrade_solver_proto_text``.

Source: the files of these names in ``tools``. As there, the status is 1 for wrong usage and 2
for a file that does not parse.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from google.protobuf.message import DecodeError

from caffe.commands import program
from caffe.commands.program import LOG, Parser, info
from recaffe.errors import FormatError, PrototxtError
from recaffe.files import write_whole
from recaffe.proto.schema import NetParameter, SolverParameter
from recaffe.proto.text import read_message, write_message
from recaffe.proto.upgrade import upgrade_net, upgrade_solver


class Upgrade(NamedTuple):
    """The message a program reads, what brings it to today's form, and the form of its files."""

    kind: Any
    upgrade: Callable[..., Any]
    form: str


PROGRAMS = {
    "upgrade_net_proto_text": Upgrade(NetParameter, upgrade_net, "text"),
    "upgrade_net_proto_binary": Upgrade(NetParameter, upgrade_net, "binary"),
    "upgrade_solver_proto_text": Upgrade(SolverParameter, upgrade_solver, "text"),
}


def net_text() -> NoReturn:
    """The program ``upgrade_net_proto_text``."""
    _main("upgrade_net_proto_text")


def net_binary() -> NoReturn:
    """The program ``upgrade_net_proto_binary``."""
    _main("upgrade_net_proto_binary")


def solver_text() -> NoReturn:
    """The program ``upgrade_solver_proto_text``."""
    _main("upgrade_solver_proto_text")


def parser(name: str) -> Parser:
    """What the program ``name`` takes."""
    kind, _, form = PROGRAMS[name]
    parser = Parser(name, f"Brings a {kind.DESCRIPTOR.name} in an older form to today's.")
    parser.add_argument("input", help=f"the {form} file to read")
    parser.add_argument("output", help=f"the {form} file to write")
    return parser


def _main(name: str) -> NoReturn:
    kind, upgrade, form = PROGRAMS[name]
    what = kind.DESCRIPTOR.name

    def run(options: argparse.Namespace) -> int:
        try:
            message = _read(options.input, kind, form)
        except (PrototxtError, DecodeError) as error:
            if options.debug:
                raise
            text = "Failed to parse input %s file as %s: %s (%s)"
            LOG.error(text, form, what, options.input, error, extra={"place": (f"{name}.cpp", 30)})
            return 2
        upgraded = upgrade(message, options.input)
        if upgraded == message:
            latest = "File already in latest proto format: %s"
            LOG.error(latest, options.input, extra={"place": (f"{name}.cpp", 43)})
        if form == "text":
            write_message(options.output, upgraded)
        else:
            write_whole(Path(options.output), [upgraded.SerializeToString()])
        place = (f"{name}.cpp", 49 if form == "text" else 48)
        info(place, "Wrote upgraded %s %s proto to %s", what, form, options.output)
        return 0

    program.main(parser(name), run)


def _read(path: str, kind: Any, form: str) -> Any:
    if form == "text":
        return read_message(path, kind())
    try:
        return kind.FromString(Path(path).read_bytes())
    except FileNotFoundError:
        raise FormatError(f"{path}: no such file") from None
