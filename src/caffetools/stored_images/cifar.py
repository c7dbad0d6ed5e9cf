"""CIFAR-10 and CIFAR-100 in their binary version.

A record is the label (of CIFAR-100 the coarse one, then the fine one) as a byte each, and 3,072
bytes of an image: 32x32 of red, of green, of blue. https://www.cs.toronto.edu/~kriz/cifar.html
describes it, and the "python version" as well, which is pickled and never read here: a pickle is
a program.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import numpy as np

from caffetools.classes import read_names
from caffetools.cli import ToolError
from caffetools.stored_images.store import Picture, Stored, png

SIDE = 32
PIXELS = 3 * SIDE * SIDE
_AT_ONCE = 1000  # records


@dataclass(frozen=True)
class Form:
    """One of the two data sets.

    Attributes:
        files: by split, in the order of their images.
        label: which byte of a record is the label, and ``labels`` how many such bytes there are.
        names: the file with the classes' names.
        pickles: files by which the pickled version is known.
    """

    files: Mapping[str, tuple[str, ...]]
    label: int
    labels: int
    classes: int
    names: str
    pickles: tuple[str, ...]


_CIFAR100 = {"train": ("train.bin",), "test": ("test.bin",)}
FORMS = {
    "cifar10": Form(
        {
            "train": tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
            "test": ("test_batch.bin",),
        },
        *(0, 1, 10, "batches.meta.txt", ("data_batch_1", "batches.meta")),
    ),
    "fine": Form(_CIFAR100, 1, 2, 100, "fine_label_names.txt", ("train", "meta")),
    "coarse": Form(_CIFAR100, 0, 2, 20, "coarse_label_names.txt", ("train", "meta")),
}


def read(source: Path, form: str, names: Optional[list[str]], place: str) -> Stored:
    """What is in the binary batches in the folder ``source``; ``form`` is a key of :data:`FORMS`.

    Without ``names`` those beside the batches are taken. Raises :class:`ToolError` where a file
    is missing, is no whole number of records, or a label is none of the data set's.
    """
    chosen = FORMS[form]
    _require_files(source, chosen)
    if names is None:
        place = str(source / chosen.names)
        names = [line.strip() for line in read_names(source / chosen.names)]
    batches = {
        split: [_records(source / name, chosen) for name in files]
        for split, files in chosen.files.items()
    }
    found = [np.unique(each[:, chosen.label]) for records in batches.values() for each in records]
    labels = frozenset(np.concatenate(found).tolist())
    return Stored(labels, names, place, _pictures(batches, chosen.label))


def _require_files(source: Path, form: Form) -> None:
    wanted = [*(name for files in form.files.values() for name in files), form.names]
    missing = [name for name in wanted if not (source / name).is_file()]
    if not missing:
        return
    if any((source / name).is_file() for name in form.pickles):
        raise ToolError(
            f"{source}: holds CIFAR's python version, which is pickled and could run any program; "
            "fetch the binary version, whose files end in .bin"
        )
    raise ToolError(
        f"{source}: expected the files of CIFAR's binary version, {', '.join(wanted)}; "
        f"found no {missing[0]}"
    )


def _records(path: Path, form: Form) -> np.ndarray:
    """``(N, labels + 3072)`` uint8, in the file itself and not in memory."""
    length = form.labels + PIXELS
    size = path.stat().st_size
    if size == 0 or size % length:
        raise ToolError(
            f"{path}: expected a whole number of records of {length} bytes, found {size} bytes; "
            "it is cut off, or of another data set"
        )
    records = np.memmap(path, np.uint8, "r").reshape(-1, length)
    beyond = np.flatnonzero(records[:, form.label] >= form.classes)
    if len(beyond):
        raise ToolError(
            f"{path}: record {beyond[0]} has the label {records[beyond[0], form.label]}, expected "
            f"0 to {form.classes - 1}"
        )
    return records


def _pictures(batches: Mapping[str, list[np.ndarray]], label: int) -> Iterator[Picture]:
    for split, files in batches.items():
        number = 0
        for records in files:
            for start in range(0, len(records), _AT_ONCE):
                some = records[start : start + _AT_ONCE]
                for own, image in zip(some[:, label].tolist(), to_images(some)):
                    yield Picture(split, number, own, png(image))
                    number += 1


def to_images(records: np.ndarray) -> np.ndarray:
    """The images of ``(N, ...)`` records as ``(N, 32, 32, 3)`` uint8 in BGR."""
    planes = records[:, -PIXELS:].reshape(-1, 3, SIDE, SIDE)
    return np.ascontiguousarray(planes[:, ::-1].transpose(0, 2, 3, 1))
