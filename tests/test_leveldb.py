"""The LevelDB reader: order, a source that stays as it is, damage, and BVLC's own database."""

from __future__ import annotations

import gc
import itertools
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
import plyvel
import pytest
from bvlc import Build
from google.protobuf import text_format
from layer_cases.sources import write_leveldb

from caffe.proto import caffe_pb2
from recaffe.data.leveldb_reader import LeveldbReader
from recaffe.errors import DataError, LayerError
from recaffe.net import Net

IMAGES = np.random.default_rng(0).integers(0, 256, (9, 3, 5, 7), dtype=np.uint8)
LABELS = np.arange(9) % 4


@pytest.fixture
def source(tmp_path: Path) -> Path:
    write_leveldb(tmp_path / "db", IMAGES, LABELS)
    return tmp_path / "db"


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    """One with several tables, some compressed, and a log."""
    with plyvel.DB(
        str(tmp_path / "t"), create_if_missing=True, write_buffer_size=1 << 16
    ) as database:
        for index in range(99):
            noise = np.random.default_rng(index).integers(0, 4 ** (1 + index % 4), 3000, np.uint8)
            database.put(b"%04d" % index, noise.tobytes())
    assert len(list((tmp_path / "t").glob("*.ldb"))) > 2
    return tmp_path / "t"


def keys(reader: LeveldbReader, count: int) -> list[int]:
    return [int(key) for key, _ in itertools.islice(reader, count)]


def content(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {file.name: (file.read_bytes(), file.stat().st_mtime_ns) for file in folder.iterdir()}


def net(text: str) -> Net:
    return Net(text_format.Parse(text, caffe_pb2.NetParameter()), 1)


def test_in_key_order_and_from_the_first_again(tables: Path) -> None:
    assert keys(LeveldbReader(str(tables)), 250) == [index % 99 for index in range(250)]


def test_readers_of_one_source_go_their_own_ways_and_leave_it_as_it_is(tables: Path) -> None:
    before = content(tables)
    one, other = LeveldbReader(str(tables)), LeveldbReader(str(tables))
    a, b = iter(one), iter(other)
    assert [int(next(a)[0]) for _ in range(5)] == [0, 1, 2, 3, 4]
    assert [int(next(b)[0]) for _ in range(2)] == [0, 1]
    assert content(tables) == before
    plyvel.DB(str(tables)).close()  # nobody holds its lock
    assert content(tables) != before
    assert [int(next(a)[0]) for _ in range(90)] == list(range(5, 95))


def test_what_it_made_is_gone_with_it(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    reader = LeveldbReader(str(source))
    assert len(list((tmp_path / "tmp").iterdir())) == 1
    assert keys(reader, 9) == list(range(9))
    del reader
    gc.collect()
    assert not list((tmp_path / "tmp").iterdir())


def test_several_layers_and_nets_share_one(source: Path) -> None:
    text = "".join(
        f'layer {{ name: "{n}" type: "Data" top: "{n}" '
        f'data_param {{ source: "{source}" batch_size: {size} }} }}'
        for n, size in (("a", 4), ("b", 6))
    )
    nets = [net(text), net(text)]
    for made in nets:
        for _ in range(2):
            made.forward_layers(0, 1)
        np.testing.assert_array_equal(made.blobs["a"].data, IMAGES[4:8])
        np.testing.assert_array_equal(made.blobs["b"].data, IMAGES[[6, 7, 8, 0, 1, 2]])


def test_what_is_absent(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none: expected a LevelDB .* found no such folder"):
        LeveldbReader(str(tmp_path / "none"))
    with pytest.raises(DataError, match="found none there"):
        LeveldbReader(str(tmp_path))
    (tmp_path / "data.mdb").touch()
    with pytest.raises(DataError, match="found an LMDB: say backend: LMDB"):
        LeveldbReader(str(tmp_path))


def test_an_empty_one(tmp_path: Path) -> None:
    plyvel.DB(str(tmp_path / "e"), create_if_missing=True).close()
    with pytest.raises(DataError, match="the LevelDB is empty"):
        LeveldbReader(str(tmp_path / "e"))


def test_without_the_binding_it_says_what_to_do(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "plyvel", None)
    text = f'layer {{ name: "d" type: "Data" top: "d" data_param {{ source: "{source}" '
    with pytest.raises(LayerError, match=r"'d' .*plyvel.*pip install plyvel.* backend: LMDB"):
        net(text + "batch_size: 1 } }")


def test_a_table_without_its_end_is_named(tables: Path) -> None:
    table = min(tables.glob("*.ldb"))
    table.write_bytes(table.read_bytes()[:-1])
    with pytest.raises(DataError, match=rf"missing files.*\({table.name} cannot be whole\)"):
        LeveldbReader(str(tables))


def test_a_broken_block_is_named_by_the_key_before_it(tables: Path) -> None:
    for table in tables.glob("*.ldb"):
        damaged = bytearray(table.read_bytes())
        damaged[100] ^= 255
        table.write_bytes(damaged)
    with pytest.raises(DataError, match=rf"^{tables}: broken after key none: .*[Cc]orruption"):
        keys(LeveldbReader(str(tables)), 99)


READ_ALL = """
import itertools, sys
from recaffe.data.leveldb_reader import LeveldbReader
from recaffe.errors import DataError
for folder in sys.argv[1:]:
    try:
        print(sum(1 for _ in itertools.islice(LeveldbReader(folder), 99)))
    except DataError as error:
        print("DataError")
"""


def test_damage_never_ends_the_process(tables: Path, tmp_path: Path) -> None:
    draw, folders = random.Random(0), []
    for index in range(60):
        folder = tmp_path / str(index)
        shutil.copytree(tables, folder)
        file = draw.choice([f for f in sorted(folder.iterdir()) if f.stat().st_size])
        data = bytearray(file.read_bytes())
        if draw.random() < 0.4:
            del data[draw.randrange(len(data)) :]
        else:
            # half of the time near the end, where a table says where its parts are
            reach = len(data) if draw.random() < 0.5 else min(len(data), 60)
            for _ in range(draw.choice([1, 3, 30])):
                data[-1 - draw.randrange(reach)] = draw.randrange(256)
        file.write_bytes(data)
        folders.append(str(folder))
    done = subprocess.run(
        [sys.executable, "-c", READ_ALL, *folders], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    said = done.stdout.split()
    assert len(said) == 60
    assert {"DataError", "99"} <= set(said)


@pytest.mark.oracle
def test_one_that_bvlc_wrote_gives_bvlcs_batches(
    bvlc: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("images").mkdir()
    for index, image in enumerate(IMAGES):
        cv2.imwrite(f"images/{index}.png", image.transpose(1, 2, 0))
    Path("list").write_text("".join(f"{i}.png {label}\n" for i, label in enumerate(LABELS)))
    text = (
        'layer { name: "d" type: "Data" top: "data" top: "label" '
        'data_param { source: "db" batch_size: 4 backend: LEVELDB } '
        "transform_param { scale: 0.5 crop_size: 3 } }"
    )
    ask = """
import caffe, numpy as np, os, shutil
net = caffe.Net("net.prototxt", caffe.TEST)
found = []
for _ in range(5):
    net.forward()
    found.append([net.blobs[name].data.copy() for name in ("data", "label")])
np.savez("found.npz", **{"%d %d" % (i, j): a for i, f in enumerate(found) for j, a in enumerate(f)})
"""
    with bvlc.workplace({"images": Path("images"), "list": Path("list")}) as place:
        place.put("net.prototxt", text)
        place.run(["convert_imageset", "-backend", "leveldb", "images/", "list", "db"])
        shutil.copytree(place.path / "db", "written")
        place.python(ask)
        # Opened once more by BVLC, its records have moved from the log to a table.
        shutil.copytree(place.path / "db", "opened")
        theirs = dict(np.load(place.path / "found.npz"))
    assert list(Path("opened").glob("*.ldb"))
    assert not list(Path("written").glob("*.ldb"))
    for name in ("written", "opened"):
        made = net(text.replace('"db"', f'"{name}"'))
        for batch in range(5):
            made.forward_layers(0, 0)
            for side, blob in enumerate(("data", "label")):
                np.testing.assert_array_equal(made.blobs[blob].data, theirs[f"{batch} {side}"])
