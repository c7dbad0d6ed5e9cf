"""BVLC's own build of Caffe 1.0, which Debian 11 still carries: make it, and run commands on it.

``build`` makes it with debootstrap, as root, unless it is there (two minutes, 1 GB); ``where``
prints its folder: ``$RECAFFE_BVLC``, else in the user's cache folder.

``run MODULE ...`` is ``python -m MODULE ...`` for a command of this package, but with BVLC's
interpreter and so on BVLC's Caffe::

    python -m caffetools.bvlc run caffetools.train --solver solver.prototxt ...

Paths mean the same as out here. Another BVLC Caffe, in a container or an environment, is named
word by word: ``--through apptainer --through exec --through caffe.sif``. Its ``python3`` must be
Python 3.9 or newer with pycaffe, OpenCV and LMDB, and must see this package's files and the current
folder under the same paths.
"""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Sequence
from pathlib import Path

from caffetools.bvlc.build import build, find, place
from caffetools.bvlc.enter import entering, environment
from caffetools.cli import ToolError, run

LOG = logging.getLogger("caffetools.bvlc")
_ALONE = Path(__file__).resolve().with_name("alone.py")


def start(through: Sequence[str], module: str, arguments: Sequence[str]) -> None:
    """Become ``python3 -m module``, on the Caffe that ``through`` leads to, else on Debian's."""
    if not module.startswith("caffetools."):
        raise ToolError(
            f"run {module}: expected a command of this package, such as caffetools.train"
        )
    words = list(through) or entering(find())
    own = dict(os.environ) if through else environment(os.environ)
    # As our runtime, it tells of every layer that is made only where it is asked to.
    if own.get("RECAFFE_LOG") != "verbose":
        own.setdefault("GLOG_minloglevel", "1")
    command = [*words, "python3", str(_ALONE), module, *arguments]
    try:
        os.execvpe(command[0], command, own)
    except OSError as error:
        raise ToolError(f"{command[0]}: could not be started ({error.strerror})") from error


def main(arguments: Sequence[str]) -> None:
    """``python -m caffetools.bvlc build|where|run``."""
    parser = argparse.ArgumentParser(
        prog="python -m caffetools.bvlc",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    making = commands.add_parser("build", help="make it, unless it is there")
    making.add_argument("--mirror", help="a Debian mirror; else the machine's own")
    commands.add_parser("where", help="print where it lies, or would")
    running = commands.add_parser("run", help="run a command of this package on it")
    running.add_argument("--through", action="append", default=[], metavar="WORD")
    running.add_argument("module")
    running.add_argument("arguments", nargs=argparse.REMAINDER)
    options = parser.parse_args(arguments)
    if options.command == "build":
        LOG.info("%s", build(options.mirror))
    elif options.command == "where":
        print(place())
    else:
        start(options.through, options.module, options.arguments)


if __name__ == "__main__":
    run(main)
