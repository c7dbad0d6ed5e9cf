"""Bring images of IDX files, CIFAR's batches, Parquet or databases into class folders.

``--source`` is the folder of these files. ``--output`` becomes a folder with a sub-folder a class:
of IDX and CIFAR PNG files, whose pixels are those of the source; of Parquet and of encoded records
the very files that are in it. ``--index`` becomes a CSV with the columns path, label, class, split
and group, where split is the files' own: train, val or test. The same source gives the same bytes.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from caffetools.classes import folder_names, read_names
from caffetools.cli import ToolError, run
from caffetools.records.apart import run_apart
from caffetools.stored_images import cifar, database, idx, parquet
from caffetools.stored_images.store import Stored, write

LOG = logging.getLogger("caffetools.stored_images")

FORMATS = {
    "idx": "MNIST's: train-images-idx3-ubyte and the like, compressed by gzip or not",
    "cifar10": "data_batch_1.bin to test_batch.bin, the binary version",
    "cifar100": "train.bin and test.bin, the binary version",
    "database": "LMDBs or LevelDBs of Datums, as convert_imageset writes them",
    "parquet": "of Hugging Face's hub: train-00000-of-00002.parquet and the like",
}


def _read(options: argparse.Namespace) -> Stored:
    names, place = None, ""
    if options.names is not None:
        names, place = [line.strip() for line in read_names(options.names)], str(options.names)
    if options.format == "idx":
        return idx.read(options.source, names, place)
    if options.format == "parquet":
        return parquet.read(options.source, options.image, options.label, names, place)
    if options.format == "database":
        return database.read(options.source, names, place)
    form = options.label if options.format == "cifar100" else options.format
    return cifar.read(options.source, form, names, place)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m caffetools.stored_images",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    formats = parser.add_subparsers(dest="format", required=True, metavar="|".join(FORMATS))
    for name, summary in FORMATS.items():
        add = formats.add_parser(name, help=summary, description=summary).add_argument
        add("--source", type=Path, required=True, metavar="DIR", help="folder of the files")
        add("--output", type=Path, required=True, metavar="DIR", help="folder for class folders")
        add("--index", type=Path, required=True, metavar="FILE", help="CSV of what is in it")
        add("--names", type=Path, metavar="FILE", help="the class of each label, a line each")
        if name == "cifar100":
            add("--label", choices=("fine", "coarse"), default="fine", help="(default: fine)")
        if name == "parquet":
            add("--image", metavar="COLUMN", help="of images (default: as the metadata says)")
            add("--label", metavar="COLUMN", help="of labels (default: as the metadata says)")
    return parser


def main(arguments: Sequence[str]) -> None:
    """``python -m caffetools.stored_images FORMAT --source DIR --output DIR --index FILE``"""
    options = _parser().parse_args(arguments)
    if not options.source.is_dir():
        raise ToolError(f"{options.source}: expected a folder, found none")
    stored = _read(options)
    if not stored.labels:
        raise ToolError(f"{options.source}: expected images, found none")
    folders = folder_names(stored.names, sorted(stored.labels), stored.place)
    count = write(stored.pictures, folders, options.output, options.index)
    LOG.info("%s: %d images in %d class folders", options.output, count, len(folders))


if __name__ == "__main__":
    # A damaged LMDB ends the process that reads it.
    run(run_apart(main, lambda arguments: Path(_parser().parse_args(arguments).source)))
