"""Arrays as HDF5 files, as Caffe's HDF5Data layer reads them.

The layer finds a dataset for each of its tops, by the top's name, in every file of a list. It holds
a file whole in memory, so rows are spread over several. Values are float32: the layer makes all of
them that. Datasets lie in one piece, without filters and without times, so that equal arrays
give equal bytes.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from caffetools.arrays.npy import Array
from caffetools.cli import ToolError
from caffetools.files import whole_directory, write_json
from caffetools.folders import refuse_foreign

LIST = "files.txt"
MOST_BYTES = 4 * (2**31 - 1)  # of a dataset: Caffe counts a blob's values by an int
_ROOM = 1 << 16  # bytes of a file beside its values, at most


def write(
    arrays: Sequence[Array], order: np.ndarray, output: Path, file_bytes: int
) -> dict[str, Any]:
    """Write the arrays' rows in this order to files in ``output``, with a list of them.

    A file has values of ``file_bytes`` at most, or one row. ``OUTPUT.json`` tells of them, and is
    written last. Returns what is in it. Nothing is left or changed at ``output`` on a mistake.
    """
    refuse_foreign(output, lambda name: name == LIST or bool(re.fullmatch(r"[0-9]{5,}\.h5", name)))
    row_bytes = 4 * sum(array.row_size for array in arrays)
    for array in arrays:
        if 4 * array.row_size > MOST_BYTES:
            raise ToolError(
                f"{array.path}: an item has {array.row_size} values, more than a blob of Caffe's"
            )
    rows = max(1, file_bytes // row_bytes)
    parts = [order[start : start + rows] for start in range(0, len(order), rows)]
    names = [f"{number:05d}.h5" for number in range(len(parts))]
    lines = [_listed(output / name) for name in names]
    digests = {array.name: hashlib.sha256() for array in arrays}
    manifest = output.with_name(f"{output.name}.json")
    with whole_directory(output) as folder:
        _require_room(folder, len(order) * row_bytes + len(parts) * _ROOM)
        for name, part in zip(names, parts):
            _write_file(folder / name, arrays, part, digests)
        (folder / LIST).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        if manifest.exists():
            manifest.unlink()
    facts = {
        "arrays": {
            array.name: {
                "dtype": array.values.dtype.name,
                "sha256": digests[array.name].hexdigest(),
                "shape": list(array.row_shape),
            }
            for array in arrays
        },
        "entries": len(order),
        "files": {name: len(part) for name, part in zip(names, parts)},
    }
    write_json(manifest, facts)
    return facts


def _listed(path: Path) -> str:
    """The path as the list names it: seen from the folder that Caffe runs in, here the current."""
    name = Path(os.path.relpath(str(path))).as_posix()
    if re.search(r"\s", name):
        raise ToolError(
            f"{name!r}: has white space in it, where Caffe parts the names of a list; name another "
            "folder as --output"
        )
    return name


def _require_room(folder: Path, size: int) -> None:
    free = shutil.disk_usage(str(folder)).free
    if size > free:
        raise ToolError(
            f"{folder.parent}: {size / 1e6:.1f} MB are needed, and the disk has {free / 1e6:.1f} "
            "MB free; make room, or choose another disk"
        )


def _write_file(
    path: Path, arrays: Sequence[Array], numbers: np.ndarray, digests: dict[str, Any]
) -> None:
    try:
        with h5py.File(str(path), "w") as file:
            for array in arrays:
                shape = (len(numbers), *array.row_shape)
                # HDF5 would write when it was made.
                dataset = file.create_dataset(array.name, shape, "<f4", track_times=False)
                done = 0
                for block in array.blocks(numbers):
                    dataset[done : done + len(block)] = block
                    digests[array.name].update(block.astype("<f4", copy=False).tobytes())
                    done += len(block)
        with path.open("rb") as written:
            os.fsync(written.fileno())
    except (OSError, RuntimeError) as error:
        raise ToolError(f"{path}: could not be written ({error}); is the disk full?") from error
