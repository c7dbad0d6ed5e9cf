"""``draw_net``: a net as a picture, of the kind that the file's name ends with.

Needs the package pydot and Graphviz.

Source: ``python/draw_net.py``.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from types import ModuleType

from caffe.proto import caffe_pb2
from caffetools import prototxt
from caffetools.cli import ToolError
from caffetools.files import whole_file
from caffetools.programs.program import LOG, Parser, run

_PHASES = {"TRAIN": caffe_pb2.TRAIN, "TEST": caffe_pb2.TEST, "ALL": None}


def parser() -> Parser:
    """What the program takes."""
    parser = Parser("draw_net", "Draw a net as a picture.")
    parser.add_argument("net", type=Path, help="the net's prototxt")
    parser.add_argument("picture", type=Path, help="the file to write: .png, .svg, .pdf ...")
    parser.flag(
        "rankdir", "direction: LR, left to right, TB, top to bottom, RL or BT",
        choices=("LR", "TB", "RL", "BT"), default="LR",
    )  # fmt: skip
    parser.flag("phase", "the phase to draw", choices=tuple(_PHASES), default="ALL")
    parser.switch("display_lrm", "write the learning rate's multipliers as well")
    return parser


def main() -> None:
    """The program ``draw_net [FLAGS] NET PICTURE``."""
    run(parser(), draw)


def draw(options: argparse.Namespace) -> None:
    """Write the picture."""
    net = prototxt.read_net(options.net)
    kind = options.picture.suffix[1:]
    if not kind:
        raise ToolError(f"{options.picture}: its name tells no kind of picture; end it with .png")
    LOG.info("Drawing net to %s", options.picture)
    module = _draw()
    try:
        picture = module.draw_net(
            net, options.rankdir, kind, _PHASES[options.phase], options.display_lrm
        )
    except (OSError, AssertionError) as error:  # BVLC's module lets through what pydot raises
        raise ToolError(f"Graphviz cannot draw {options.picture}: {error}") from error
    with whole_file(options.picture) as partial:
        partial.write_bytes(picture)


def _draw() -> ModuleType:
    try:
        import caffe.draw
    except ImportError as error:  # BVLC's, where there is no pydot
        raise ToolError(f"drawing nets needs the package pydot: {error}") from error
    return caffe.draw
