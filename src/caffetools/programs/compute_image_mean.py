"""``compute_image_mean``: the mean of a database's images, as the file that ``mean_file`` names.

Every channel's mean value is told as well. What is computed: :mod:`caffetools.mean`.

Source: ``tools/compute_image_mean.cpp``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from caffetools import databases, mean
from caffetools.files import whole_file
from caffetools.programs.program import LOG, Parser, run


def parser() -> Parser:
    """What the program takes."""
    parser = Parser("compute_image_mean", "Compute the mean image of a database of images.")
    parser.add_argument("database", type=Path, help="the database's folder")
    parser.add_argument("output", type=Path, nargs="?", help="the binaryproto to write")
    parser.flag("backend", "lmdb or leveldb", choices=databases.BACKENDS, default="lmdb")
    return parser


def main() -> None:
    """The program ``compute_image_mean [FLAGS] INPUT_DB [OUTPUT_FILE]``."""
    run(parser(), compute)


def compute(options: argparse.Namespace) -> None:
    """Write the mean, and tell each channel's."""
    image = mean.mean(options.database, options.backend)
    if options.output is not None:
        LOG.info("Write to %s", options.output)
        with whole_file(options.output) as partial:
            partial.write_bytes(mean.blob(image).SerializeToString())
    LOG.info("Number of channels: %d", len(image))
    for channel, values in enumerate(image):
        LOG.info("mean_value channel [%d]: %g", channel, values.mean())
