"""Data with shuffle: a new order each turn, the same for all that read together."""

from __future__ import annotations

from pathlib import Path

import lmdb
import numpy as np
import pytest
from layer_cases.sources import write_leveldb
from recipes import write_lmdb
from small_nets import build, run

from caffe.proto import caffe_pb2
from recaffe.context import context
from recaffe.data.lmdb_reader import LmdbReader
from recaffe.errors import LayerError
from recaffe.net import Net

COUNT = 7
IMAGES = np.arange(COUNT, dtype=np.uint8).reshape(COUNT, 1, 1, 1)
LAYER = """layer { name: "%s" type: "Data" top: "%s" top: "%s"
  data_param { source: "%s" backend: LMDB batch_size: %d shuffle: true } }"""


@pytest.fixture(autouse=True)
def _database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_lmdb(Path("lmdb"), IMAGES, np.arange(COUNT))


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "solver_count", 1)
    monkeypatch.setattr(context, "solver_rank", 0)


def net(batch_size: int = COUNT, seed: int = 1, source: str = "lmdb") -> Net:
    context.seed(seed, context.solver_rank)
    return build(LAYER % ("d", "data", "label", source, batch_size))


def labels(made: Net, batches: int, blob: str = "label") -> list[int]:
    found: list[int] = []
    for _ in range(batches):
        run(made)
        found += made.blobs[blob].data.astype(int).tolist()
    return found


def test_each_turn_has_a_new_order_with_nothing_lost() -> None:
    made = net()
    turns = [labels(made, 1) for _ in range(30)]
    assert all(sorted(turn) == list(range(COUNT)) for turn in turns)
    assert len({tuple(turn) for turn in turns}) > 25
    assert made.blobs["data"].data.reshape(-1).tolist() == turns[-1]


def test_the_batches_size_is_no_matter() -> None:
    assert labels(net(batch_size=3), 7 * 3) == labels(net(batch_size=COUNT), 3 * 3)


def test_the_order_follows_the_seed() -> None:
    assert labels(net(seed=1), 3) == labels(net(seed=1), 3)
    assert labels(net(seed=1), 3) != labels(net(seed=2), 3)


def test_a_test_net_may_shuffle_too() -> None:
    context.seed(1)
    made = build(LAYER % ("d", "data", "label", "lmdb", COUNT), 1)
    assert labels(made, 1) != list(range(COUNT))


def test_layers_of_one_net_keep_in_step() -> None:
    """As images and label vectors in two databases must, whatever else they draw."""
    write_lmdb(Path("vectors"), IMAGES, np.arange(COUNT) + 100)
    first = LAYER % ("d", "data", "label", "lmdb", 3)
    first = first.replace("data_param", "transform_param { mirror: true } data_param", 1)
    context.seed(1)
    made = build(first + LAYER % ("v", "vector", "more", "vectors", 3))
    seen = []
    for _ in range(6):
        run(made)
        seen += made.blobs["label"].data.tolist()
        assert (made.blobs["more"].data == made.blobs["label"].data + 100).all()
    assert seen[:COUNT] != sorted(seen[:COUNT])


def test_solvers_that_train_together_read_each_record_once_a_turn(monkeypatch) -> None:
    monkeypatch.setattr(context, "solver_count", 2)
    shares = []
    for rank in range(2):
        monkeypatch.setattr(context, "solver_rank", rank)
        shares.append(labels(net(batch_size=COUNT), 2))
    monkeypatch.setattr(context, "solver_count", 1)
    monkeypatch.setattr(context, "solver_rank", 0)
    alone = labels(net(), 4)
    assert [alone[0::2], alone[1::2]] == shares


def test_solvers_that_train_together_need_a_seed(monkeypatch) -> None:
    monkeypatch.setattr(context, "solver_count", 2)
    monkeypatch.setattr(context, "_seed", None)
    with pytest.raises(LayerError, match="set random_seed in the solver"):
        build(LAYER % ("d", "data", "label", "lmdb", 1))


def test_without_a_seed_each_process_has_an_order_of_its_own(monkeypatch) -> None:
    seeds = set()
    for _ in range(3):
        monkeypatch.setattr(context, "_seed", None)
        monkeypatch.setattr(context, "_shared_seed", None)
        labels(build(LAYER % ("d", "data", "label", "lmdb", COUNT)), 1)
        seeds.add(context.shared_seed)
    assert len(seeds) == 3


def test_keys_of_any_bytes_and_lengths(tmp_path: Path) -> None:
    keys = [b"a", b"a\0", b"\0\0b", b"\xff" * 511, "größe/1 2".encode()]
    with lmdb.open(str(tmp_path / "odd")) as environment, environment.begin(write=True) as written:
        for index, key in enumerate(keys):
            written.put(key, caffe_pb2.Datum(label=index).SerializeToString())
    reader = LmdbReader(str(tmp_path / "odd")).shuffled(seed=0, start=3, step=1)
    found = [next(reader) for _ in range(2 + 5)]
    assert {bytes(key) for key, _ in found[2:]} == set(keys)
    for key, value in found:
        assert keys[caffe_pb2.Datum.FromString(bytes(value)).label] == bytes(key)


def test_a_leveldb_is_read_in_key_order_only() -> None:
    write_leveldb(Path("leveldb"), IMAGES, np.arange(COUNT))
    with pytest.raises(LayerError, match="shuffle needs an LMDB"):
        build((LAYER % ("d", "data", "label", "leveldb", 2)).replace("LMDB", "LEVELDB"))
