"""The memory of batches: used again, and never while somebody looks at it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from recipes import write_lmdb
from small_nets import build, run

import caffe
from recaffe.data.batches import _MOST_BUFFERS, _Buffers

NET = """layer { name: "data" type: "Data" top: "data" top: "label"
  data_param { source: "lmdb" backend: LMDB batch_size: 1 prefetch: 2 } }"""
COUNT = 40


@pytest.fixture
def net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> caffe.Net:
    monkeypatch.chdir(tmp_path)
    images = np.arange(COUNT, dtype=np.uint8).reshape(COUNT, 1, 1, 1)
    write_lmdb(tmp_path / "lmdb", np.broadcast_to(images, (COUNT, 3, 8, 8)), np.arange(COUNT))
    Path("net").write_text(NET)
    return caffe.Net("net", caffe.TRAIN)


@pytest.mark.usefixtures("net")
def test_batches_that_are_kept_stay_what_they_were() -> None:
    runtime, kept = build(NET), []
    for _ in range(COUNT):
        run(runtime)
        kept.append(runtime.blobs["data"].data_tensor)
    assert [int(tensor[0, 0, 0, 0]) for tensor in kept] == list(range(COUNT))
    parts = [tensor[0, 1:, ::2].numpy() for tensor in kept]
    del kept
    for _ in range(COUNT):
        run(runtime)
    assert [part[0, 0, 0] for part in parts] == list(range(COUNT))


def test_batches_that_nobody_keeps_share_a_few_arrays(net: caffe.Net) -> None:
    places = set()
    for index in range(COUNT):
        net.forward()
        data = net.blobs["data"].data
        assert (data == index).all()
        places.add(data.ctypes.data)
    assert len(places) <= _MOST_BUFFERS


def test_an_array_is_free_once_its_last_view_is_gone() -> None:
    buffers = _Buffers()
    first = buffers.take((2, 3))
    place, view = first.ctypes.data, first[1:]
    del first
    second = buffers.take((2, 3))
    assert second.ctypes.data != place
    del view
    assert buffers.take((2, 3)).ctypes.data == place
    assert buffers.take((4, 3)).shape == (4, 3)


def test_no_more_arrays_are_held_than_a_net_needs() -> None:
    buffers = _Buffers()
    kept = [buffers.take((1,)) for _ in range(100)]
    assert len(buffers._arrays) == _MOST_BUFFERS
    assert len({array.ctypes.data for array in kept}) == 100
