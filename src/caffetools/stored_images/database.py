"""LMDBs and LevelDBs of Datums, as ``convert_imageset`` writes them.

The folder is a database itself, or holds databases whose names tell their splits:
``ilsvrc12_train_lmdb``, ``val``. Raw pixels become PNG; encoded images come out byte by byte.
An EXIF entry by which an encoded photograph is to be turned counts from then on, which Caffe,
decoding records, passes over.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Optional

import numpy as np

from caffetools.cli import ToolError
from caffetools.datum_fields import Fields, read_fields
from caffetools.datums import pixels
from caffetools.records.facts import as_text
from caffetools.records.place import MARKS, Database, find, shown
from caffetools.stored_images.store import SPLITS, Picture, Stored, ending, png

_ORDER = ("train", "val", "test", "")


def read(source: Path, names: Optional[list[str]], place: str) -> Stored:
    """What is in the databases of the folder ``source``.

    Raises :class:`ToolError` where there are none, or a record is no Datum or no image.
    """
    databases = _databases(source)
    labels = {fields.label for _, where, fields in _records(databases) if _is_label(fields, where)}
    return Stored(frozenset(labels), names, place, _pictures(databases))


def _databases(source: Path) -> list[tuple[str, Database]]:
    """The databases with their splits, in the order of these."""
    folders = sorted(path for path in source.iterdir() if path.is_dir())
    holding = [path for path in folders if any((path / mark).is_file() for mark in MARKS.values())]
    if not holding:
        return [("", find(source))]
    found = [(_split(path.name), find(path)) for path in holding]
    return sorted(found, key=lambda each: (_ORDER.index(each[0]), each[1].path))


def _split(name: str) -> str:
    words = re.split("[-_.]", name.lower())
    return next((SPLITS[word] for word in words if word in SPLITS), "")


def _records(databases: Sequence[tuple[str, Database]]) -> Iterator[tuple[str, str, Fields]]:
    """The split, the place and the fields of each record, to be looked at before the next."""
    for split, database in databases:
        for key, value in database.views():
            place = f"{database.path}, record {shown(bytes(key))}"
            try:
                yield split, place, read_fields(value)
            except ValueError as error:
                raise ToolError(f"{place}: expected a Datum, but {error}") from error


def _is_label(fields: Fields, place: str) -> bool:
    if fields.label < 0:
        raise ToolError(f"{place}: expected a label from 0 on, found {fields.label}")
    return True


def _pictures(databases: Sequence[tuple[str, Database]]) -> Iterator[Picture]:
    numbers: Counter[str] = Counter()
    for split, place, fields in _records(databases):
        number = numbers[split]
        numbers[split] += 1
        if fields.encoded:
            content = bytes(fields.data)
            yield Picture(split, number, fields.label, content, ending(content))
        else:
            yield Picture(split, number, fields.label, png(_image(fields, place)))


def _image(fields: Fields, place: str) -> np.ndarray:
    try:
        planes = pixels(fields)
    except ValueError as error:
        raise ToolError(f"{place}: {error}") from error
    if planes.dtype != np.uint8 or len(planes) not in (1, 3):
        raise ToolError(
            f"{place}: expected the bytes of an image of 1 or 3 channels, found "
            f"{planes.dtype} values of {as_text(fields.shape)}; train on that database as it is"
        )
    return np.ascontiguousarray(planes.transpose(1, 2, 0))
