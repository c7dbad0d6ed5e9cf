"""Write NumPy's arrays as Caffe's data layers read them: HDF5 files, or LMDBs.

``--array NAME=FILE.npy`` names an array of floats, whole numbers or booleans whose first axis is
that of the items; several have as many items each. They are read by parts, and never unpickled.

``hdf5`` writes ``OUTPUT/00000.h5`` and so on, each with a float32 dataset NAME an array, and
``OUTPUT/files.txt``, the list that is HDF5Data's source; its paths are seen from the current
folder, from where Caffe is to be run. ``lmdb`` writes an LMDB ``OUTPUT/NAME`` of each array. All
have the same keys in the same order, so that a net may read them by a Data layer each: arrays of
uint8 as bytes, others as floats. With ``--label NAME`` that array's whole numbers are the labels
of the records.

What is written hangs on arrays and options alone. JSON beside it, written last, describes it.
"""

from __future__ import annotations

import argparse
import logging
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from caffetools.arrays import hdf5, records
from caffetools.arrays.npy import Array, open_array
from caffetools.cli import ToolError, run
from caffetools.suggest import did_you_mean

LOG = logging.getLogger("caffetools.arrays")


def open_all(told: Sequence[str]) -> list[Array]:
    """The arrays of ``NAME=FILE``, which have as many rows each."""
    arrays: list[Array] = []
    for text in told:
        name, separator, file = text.partition("=")
        if not separator or not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name, re.ASCII):
            raise ToolError(
                f"--array {text!r}: expected NAME=FILE.npy, the name of letters, digits and _.-, "
                "such as data=images.npy"
            )
        if name in [array.name for array in arrays]:
            raise ToolError(f"--array {text!r}: there is an array {name!r} before it; rename one")
        arrays.append(open_array(name, Path(file)))
        first, last = arrays[0], arrays[-1]
        if len(first.values) != len(last.values):
            raise ToolError(
                f"{last.path}: has {len(last.values)} items and {first.path} {len(first.values)}; "
                "expected as many, the n-th of the one being that of the other"
            )
    return arrays


def write(options: argparse.Namespace) -> None:
    """Either command."""
    if not 0 <= options.seed < 2**32:
        raise ToolError(f"--seed: expected a number from 0 to {2**32 - 1}, found {options.seed}")
    arrays = open_all(options.array)
    order = np.arange(len(arrays[0].values))
    if options.shuffle:
        # RandomState and not default_rng: NumPy promises its stream for all versions.
        order = np.random.RandomState(options.seed).permutation(len(order))
    if options.form == "hdf5":
        _write_hdf5(arrays, order, options)
    else:
        _write_lmdbs(arrays, order, options)


def _write_hdf5(arrays: list[Array], order: np.ndarray, options: argparse.Namespace) -> None:
    if not 1 <= options.file_bytes <= hdf5.MOST_BYTES:
        raise ToolError(
            f"--file-bytes: expected from 1 to {hdf5.MOST_BYTES}, found {options.file_bytes}"
        )
    facts = hdf5.write(arrays, order, options.output, options.file_bytes)
    LOG.info(
        "%s: %d items in %d files", options.output / hdf5.LIST, len(order), len(facts["files"])
    )


def _write_lmdbs(arrays: list[Array], order: np.ndarray, options: argparse.Namespace) -> None:
    label = None
    if options.label is not None:
        names = [array.name for array in arrays]
        if options.label not in names or len(arrays) == 1:
            raise ToolError(
                f"--label {options.label}: expected one of several arrays"
                f"{did_you_mean(options.label, names)} They are: {', '.join(names)}"
            )
        label = arrays.pop(names.index(options.label))
    for name, facts in records.write(arrays, order, options.output, label).items():
        shape = "x".join(str(facts[side]) for side in ("channels", "height", "width"))
        LOG.info("%s: %d records of %s", options.output / name, facts["entries"], shape)


def main(arguments: Sequence[str]) -> None:
    """``python -m caffetools.arrays hdf5|lmdb --array NAME=FILE.npy --output DIR``."""
    parser = argparse.ArgumentParser(
        prog="python -m caffetools.arrays",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    forms = parser.add_subparsers(dest="form", required=True)
    for form, text in (("hdf5", "files for HDF5Data"), ("lmdb", "LMDBs for Data")):
        one = forms.add_parser(form, help=text)
        one.add_argument("--array", action="append", required=True, metavar="NAME=FILE.npy")
        one.add_argument("--output", type=Path, required=True, help="folder to write to")
        one.add_argument("--shuffle", action="store_true", help="in random order")
        one.add_argument("--seed", type=int, default=0, help="for --shuffle")
        if form == "hdf5":
            one.add_argument(
                "--file-bytes", type=int, default=1 << 28, metavar="N",
                help="values of a file, which HDF5Data holds in memory (default: %(default)s)",
            )  # fmt: skip
        else:
            one.add_argument("--label", metavar="NAME", help="the array of the records' labels")
    write(parser.parse_args(arguments))


if __name__ == "__main__":
    run(main)
