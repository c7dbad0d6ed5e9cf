"""Whether every record of a database is one that Caffe can read, and all are alike."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Optional

import numpy as np
from google.protobuf.message import DecodeError

from caffe.proto import caffe_pb2
from caffetools import databases
from caffetools.cli import ToolError
from caffetools.datum_fields import read_fields
from caffetools.datums import pixels
from caffetools.images import MAX_PIXELS
from caffetools.records.facts import Shape, as_text
from caffetools.records.place import Database, shown


class Finding(NamedTuple):
    """What is wrong, and where: a record's key, or the database's folder."""

    place: str
    says: str


class Verification:
    """Goes through a database once.

    Attributes:
        entries: how many records were seen.
        shape: that of the first record that has one, (channels, height, width).
    """

    def __init__(self, database: Database, max_pixels: int = MAX_PIXELS) -> None:
        self.entries = 0
        self.shape: Optional[Shape] = None
        self._database = database
        self._max_pixels = max_pixels

    def findings(self) -> Iterator[Finding]:
        """What is wrong with the database as a whole, and with each record, as it is met."""
        place = str(self._database.path)
        manifest = _manifest(self._database.path)
        digest = hashlib.sha256()
        try:
            yield from (Finding(place, says) for says in _torn(self._database))
            for key, value in self._database.views():
                self.entries += 1
                if manifest:
                    digest.update(key)
                    digest.update(value)
                name = shown(bytes(key))
                yield from (Finding(name, says) for says in self._faults(value))
        except ToolError as error:
            yield Finding(place, _without(str(error), place))
            return
        if not self.entries:
            yield Finding(place, "it has no records")
        yield from (Finding(place, says) for says in self._unlike(manifest, digest.hexdigest()))

    def _unlike(self, manifest: dict[str, Any], digest: str) -> Iterator[str]:
        for field, name, found in [
            ("entries", "number of records", self.entries),
            ("sha256", "SHA-256", digest),
        ]:
            expected = manifest.get(field, found)
            if expected != found:
                yield (
                    f"its {name} is {found}, and {self._database.path.name}.json beside it tells "
                    f"{expected}: one of the two is of another run"
                )

    def _faults(self, value: memoryview) -> Iterator[str]:
        try:
            fields = read_fields(value)
            caffe_pb2.Datum.FromString(bytes(value))
        except ValueError as error:
            yield f"it is no Datum: {error}"
            return
        except DecodeError:
            yield "it is no Datum: protobuf cannot read it"
            return
        yield from fields.odd
        if fields.label < 0:
            yield f"its label is {fields.label}, and Caffe counts classes from 0"
        if len(fields.data) and fields.floats:
            yield "it has both data and float_data, of which Caffe reads data alone"
        try:
            values = pixels(fields, self._max_pixels)
        except ValueError as error:
            yield str(error)
            return
        if self.shape is None:
            self.shape = values.shape
        if values.shape != self.shape:
            yield f"its shape is {as_text(values.shape)}, the first one's {as_text(self.shape)}"
        if values.dtype != np.uint8:
            count = values.size - np.count_nonzero(np.isfinite(values))
            if count:
                yield f"{count} of its {values.size} values are NaN or infinite"


def _torn(database: Database) -> Iterator[str]:
    """Whether an LMDB's file ends within a page, which LMDB itself does not look at."""
    if database.backend != "lmdb":
        return
    _, page = databases.lmdb_sizes(database.path)
    size = (database.path / "data.mdb").stat().st_size
    if size % page:
        yield (
            f"its data.mdb has {size} bytes, which are no whole pages of {page}: it was not "
            "written, or copied, to its end"
        )


def _manifest(path: Path) -> dict[str, Any]:
    """What the manifest beside a database tells, where caffetools.lmdb wrote one."""
    try:
        found = json.loads(path.with_name(f"{path.name}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) and {"entries", "sha256"} <= found.keys() else {}


def _without(message: str, place: str) -> str:
    return message[len(place) + 2 :] if message.startswith(f"{place}: ") else message
