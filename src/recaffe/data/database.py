"""The images of a database's Datum records, from any place on."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from recaffe.data import datum
from recaffe.data.batches import Reading, Sample
from recaffe.data.leveldb_reader import LeveldbReader
from recaffe.data.lmdb_reader import Buffer, LmdbReader
from recaffe.data.resume import natural
from recaffe.data.share import Share
from recaffe.errors import DataError


class DatabaseSamples:
    """One solver's images in Datum records; encoded ones are decoded as ``color`` says.

    Args:
        reader: of the database.
        share: which of the records are this solver's.
        seed: if given, of a new order each turn; else records come in key order.
        color: whether to decode in colour or grey; None for as they are.
    """

    def __init__(
        self,
        reader: LmdbReader | LeveldbReader,
        share: Share,
        seed: int | None,
        color: bool | None,
    ) -> None:
        self._reader, self._share, self._seed, self._color = reader, share, seed, color
        self.step = share.count

    def start_at(self, position: int) -> Iterator[Reading]:
        """Readings from this solver's ``position``-th on, without an end."""
        start = self._share.rank + position * self.step
        items: Iterator[tuple[Buffer, Buffer]]
        if self._seed is None:
            items = itertools.islice(self._reader.read(start), 0, None, self.step)
        else:
            assert isinstance(self._reader, LmdbReader)
            items = self._reader.shuffled(self._seed, start, self.step)
        return (partial(self._sample, key, value) for key, value in items)

    def state(self) -> dict[str, Any]:
        """The order's seed, if there is one."""
        return {} if self._seed is None else {"seed": self._seed}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Take the order of what :meth:`state` gave.

        Raises:
            DataError: no such state, or one of a run that shuffled where this one does not.
        """
        if ("seed" in state) != (self._seed is not None):
            raise DataError("it is of a run that shuffled and this one does not, or vice versa")
        if "seed" in state:
            self._seed = natural(state, "seed")

    def _sample(self, key: Buffer, value: Buffer) -> Sample:
        place = f"{self._reader.source}, key {bytes(key).decode(errors='replace')}"
        record = datum.parse(value, place)
        return Sample(datum.to_array(record, place, self._color), record.label, place)
