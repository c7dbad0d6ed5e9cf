"""The LMDB reader: over and over, shared, replaced, and what is no LMDB."""

from __future__ import annotations

import gc
import itertools
import shutil
from pathlib import Path

import lmdb
import numpy as np
import pytest
from recipes import write_lmdb

from recaffe.data import lmdb_reader
from recaffe.data.lmdb_reader import LmdbReader
from recaffe.errors import DataError


def make(folder: Path, count: int = 3, size: int = 2) -> str:
    images = np.zeros((count, 1, size, size), np.uint8)
    return str(write_lmdb(folder, images, np.arange(count)))


def keys(reader: LmdbReader, count: int) -> list[int]:
    return [int(key) for key, _ in itertools.islice(reader, count)]


def test_in_key_order_and_from_the_first_again(tmp_path: Path) -> None:
    environment = lmdb.open(str(tmp_path / "l"))
    with environment, environment.begin(write=True) as transaction:
        for key in (b"2", b"10", b"1"):
            transaction.put(key, key + b"!")
    reader = LmdbReader(str(tmp_path / "l"))
    assert reader.entries == 3
    assert list(itertools.islice(reader, 7)) == [
        (key, key + b"!") for key in (b"1", b"10", b"2", b"1", b"10", b"2", b"1")
    ]


def test_two_readers_of_one_lmdb_go_their_own_ways(tmp_path: Path) -> None:
    source = make(tmp_path / "l")
    before = set(lmdb_reader._environments)  # of nets that other tests have left
    one, other = iter(LmdbReader(source)), iter(LmdbReader(source + "/."))
    assert [int(next(one)[0]) for _ in range(5)] == [0, 1, 2, 0, 1]
    assert [int(next(other)[0]) for _ in range(2)] == [0, 1]
    assert len(set(lmdb_reader._environments) - before) == 1
    del one
    gc.collect()
    assert int(next(other)[0]) == 2


def test_closed_when_the_last_reader_is_gone(tmp_path: Path) -> None:
    before = set(lmdb_reader._environments)
    reader = LmdbReader(make(tmp_path / "l"))
    assert set(lmdb_reader._environments) != before
    del reader
    gc.collect()
    assert not set(lmdb_reader._environments) - before
    # Opened for writing, which LMDB refuses while it is open here.
    lmdb.open(str(tmp_path / "l")).close()


def test_one_that_was_replaced_is_seen_afresh(tmp_path: Path) -> None:
    source = make(tmp_path / "l", count=2)
    old = LmdbReader(source)
    shutil.rmtree(source)
    make(tmp_path / "l", count=3)
    assert keys(LmdbReader(source), 4) == [0, 1, 2, 0]
    assert keys(old, 4) == [0, 1, 0, 1]


def test_one_that_was_moved_is_opened_once(tmp_path: Path) -> None:
    first = LmdbReader(make(tmp_path / "l", count=2))
    (tmp_path / "l").rename(tmp_path / "moved")
    make(tmp_path / "l", count=3)
    moved, new = LmdbReader(str(tmp_path / "moved")), LmdbReader(str(tmp_path / "l"))
    assert [keys(reader, 4) for reader in (first, moved, new)] == [
        [0, 1, 0, 1],
        [0, 1, 0, 1],
        [0, 1, 2, 0],
    ]
    assert len(lmdb_reader._environments) == 2


def test_what_is_absent(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none: expected an LMDB .* found no such folder"):
        LmdbReader(str(tmp_path / "none"))
    with pytest.raises(DataError, match=r"expected an LMDB .* found none there"):
        LmdbReader(str(tmp_path))
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match=r"file: expected an LMDB .* found none there"):
        LmdbReader(str(tmp_path / "file"))


def test_an_empty_one(tmp_path: Path) -> None:
    lmdb.open(str(tmp_path / "l")).close()
    with pytest.raises(DataError, match="l: the LMDB is empty"):
        LmdbReader(str(tmp_path / "l"))


@pytest.mark.parametrize("content", [b"", b"x", b"rubbish" * 2000])
def test_rubbish(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "data.mdb").write_bytes(content)
    with pytest.raises(DataError, match=f"^{tmp_path}: not an LMDB that can be read"):
        LmdbReader(str(tmp_path))


def test_one_that_is_cut_short(tmp_path: Path) -> None:
    source = Path(make(tmp_path / "whole", count=20, size=100))
    whole = (source / "data.mdb").read_bytes()
    for size in (2 * 4096, len(whole) // 2, len(whole) - 1):
        cut = tmp_path / f"cut{size}"
        cut.mkdir()
        (cut / "data.mdb").write_bytes(whole[:size])
        # Reading on would end the process with a bus error.
        with pytest.raises(DataError, match=rf"data\.mdb: cut short: .* the file has {size}"):
            LmdbReader(str(cut))


def test_one_whose_last_pages_were_never_written_is_whole(tmp_path: Path) -> None:
    # Pages that a transaction took and gave back may lie behind the file's end.
    environment = lmdb.open(str(tmp_path / "l"), map_size=1 << 24)
    with environment:
        for changes in (
            {b"kept": b"k", b"gone": b"x" * 9000},
            {b"gone": None},
            {b"kept": b"K"},
            {b"new": b"x" * 90000},
        ):
            with environment.begin(write=True) as transaction:
                for key, value in changes.items():
                    transaction.delete(key) if value is None else transaction.put(key, value)
                transaction.delete(b"new")
        pages = environment.info()["last_pgno"] + 1
        page_size = environment.stat()["psize"]
    assert (tmp_path / "l" / "data.mdb").stat().st_size < pages * page_size
    assert next(iter(LmdbReader(str(tmp_path / "l")))) == (b"kept", b"K")
