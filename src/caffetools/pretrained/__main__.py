"""Show what is known of published models, and write their prototxts.

``python -m caffetools.pretrained list`` names them, ``show NAME`` tells all that is known of
one, ``prototxt NAME`` writes its train_val.prototxt, or with ``--kind`` its deploy or
solver.prototxt, to standard output or to ``--output``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Optional

from caffetools import files
from caffetools.cli import run
from caffetools.pretrained.registry import Model, find, load

NOT_KNOWN = "not known"
KINDS = ("train_val", "deploy", "solver")


def listed() -> str:
    """A line a model: name, title, input, top-1 accuracy, licence."""
    rows = [("name", "model", "input", "top-1 %", "licence")]
    for model in load().values():
        top1 = NOT_KNOWN if model.accuracy is None else f"{model.accuracy['top1']:g}"
        rows.append(
            (model.name, model.title, _size(model), top1, model.license or NOT_KNOWN)
        )  # fmt: skip
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)) for row in rows]
    return "".join(f"{line.rstrip()}\n" for line in lines)


def shown(model: Model) -> str:
    """All that is known of a model, with what each figure is from."""
    lines = []
    for label, field, value in facts(model):
        source = model.source(field)
        lines.append(f"{label}: {value}" + (f"  [{source}]" if source else ""))
    return "".join(f"{line}\n" for line in lines)


def facts(model: Model) -> Iterator[tuple[str, str, str]]:
    """What a page says of a model: label, field of the registry, value."""
    yield "name", "name", model.name
    yield "model", "title", model.title
    yield "prototxt", "prototxt", model.prototxt or NOT_KNOWN
    for number, url in enumerate(model.urls):
        yield ("weights", "urls", url) if number == 0 else ("mirror", "mirrors", url)
    yield "SHA-1", "sha1", model.sha1 or NOT_KNOWN
    yield "SHA-256", "sha256", model.sha256 or NOT_KNOWN
    yield "bytes", "bytes", _or_not_known(model.bytes)
    yield "input", "input", _size(model)
    yield "channel order", "channel_order", model.channel_order or NOT_KNOWN
    yield "mean", "mean", ", ".join(f"{each:g}" for each in model.mean or ()) or NOT_KNOWN
    yield "scale", "scale", f"{model.scale:g}"
    yield "classes", "classes", str(model.classes)
    yield "heads", "heads", ", ".join(model.heads)
    accuracy = model.accuracy
    told = accuracy and f"top-1 {accuracy['top1']:g} %, top-5 {accuracy['top5']:g} %"
    yield "accuracy", "accuracy", told or NOT_KNOWN
    yield "licence", "license", model.license or NOT_KNOWN
    solver = ", ".join(f"{key}: {value}" for key, value in (model.solver or {}).items())
    yield "solver", "solver", solver or NOT_KNOWN


def _size(model: Model) -> str:
    return " x ".join(map(str, model.input))


def _or_not_known(value: Any) -> str:
    return NOT_KNOWN if value is None else f"{value:,}"


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="caffetools.pretrained", description="What is known of published models."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="name them all")
    show = commands.add_parser("show", help="tell all that is known of one")
    show.add_argument("name")
    prototxt = commands.add_parser("prototxt", help="write its net or its solver")
    prototxt.add_argument("name")
    prototxt.add_argument("--kind", choices=KINDS, default=KINDS[0], help="which of its files")
    prototxt.add_argument("--output", type=Path, help="the file to write (default: to the screen)")
    return parser.parse_args(arguments)


def _prototxt(name: str, kind: str) -> str:
    # The other commands need no Caffe.
    from caffetools import prototxt
    from caffetools.pretrained import nets

    model = find(name)
    message = getattr(nets, kind)(name)
    return f"# The {kind} of {model.title}, by caffetools.pretrained.\n{prototxt.to_text(message)}"


def main(arguments: Sequence[str]) -> Optional[int]:
    options = _options(arguments)
    if options.command == "list":
        sys.stdout.write(listed())
    elif options.command == "show":
        sys.stdout.write(shown(find(options.name)))
    elif options.output is None:
        sys.stdout.write(_prototxt(options.name, options.kind))
    else:
        files.write_text(options.output, _prototxt(options.name, options.kind))
    return None


if __name__ == "__main__":
    run(main)
