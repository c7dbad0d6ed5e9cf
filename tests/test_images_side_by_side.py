"""Large images are read and transformed in several threads, which changes no number."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from recipes import write_lmdb

import caffe
from recaffe.data import batches, threads
from recaffe.data.threads import side_by_side


@pytest.fixture
def four(monkeypatch: pytest.MonkeyPatch):
    """As on a machine with four cores, for batches of any size."""
    monkeypatch.setattr(threads, "_threads", lambda: 4)
    monkeypatch.setattr(batches, "_LARGE", 0)
    threads._pool.cache_clear()
    yield
    threads._pool().shutdown()
    threads._pool.cache_clear()


@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 50])
def test_results_are_in_order(four, count: int):
    assert side_by_side(str, range(count)) == [str(i) for i in range(count)]


def test_several_threads_work(four):
    met = threading.Barrier(4, timeout=10)
    assert len(set(side_by_side(lambda _: (met.wait(), threading.get_ident())[1], range(4)))) == 4


def test_nothing_is_at_work_once_an_exception_is_raised(four):
    at_work, lock = [0], threading.Lock()

    def slow(item: int) -> None:
        if item == 0:
            time.sleep(0.05)
            raise ValueError("the first")
        with lock:
            at_work[0] += 1
        time.sleep(0.2)
        with lock:
            at_work[0] -= 1

    with pytest.raises(ValueError, match="the first"):
        side_by_side(slow, range(4))
    assert at_work == [0]


def test_the_first_error_is_raised(four):
    def odd(i: int) -> int:
        if i in (5, 7, 30):
            raise ValueError(i)
        return i

    with pytest.raises(ValueError, match="5"):
        side_by_side(odd, range(40))


NET = """
layer {
  name: "data" type: "Data" top: "data" top: "label"
  transform_param { crop_size: 9 mirror: true mean_value: 100 scale: 0.25 }
  data_param { source: "db" batch_size: 7 backend: LMDB }
}
layer {
  name: "files" type: "ImageData" top: "files" top: "number"
  transform_param { crop_size: 9 mirror: true }
  image_data_param { source: "list" batch_size: 5 shuffle: true }
}
"""


def epochs() -> list[np.ndarray]:
    caffe.set_random_seed(5)
    net = caffe.Net("net.prototxt", caffe.TRAIN)
    found = []
    for _ in range(6):
        net.forward()
        found += [net.blobs[name].data.copy() for name in ("data", "label", "files", "number")]
    return found


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    images = np.random.RandomState(0).randint(0, 256, (20, 3, 12, 14)).astype(np.uint8)
    write_lmdb(tmp_path / "db", images, np.arange(20))
    for i, image in enumerate(images):
        cv2.imwrite(f"{i}.png", image.transpose(1, 2, 0))
    Path("list").write_text("".join(f"{i}.png {i}\n" for i in range(20)))
    Path("net.prototxt").write_text(NET)
    return tmp_path


def test_batches_are_the_same_in_one_thread_and_in_several(here, monkeypatch, request):
    alone = epochs()
    request.getfixturevalue("four")
    assert not all((a == b).all() for a, b in zip(alone[:4], alone[4:8], strict=True))
    for one, other in zip(alone, epochs(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_an_image_that_does_not_decode_is_named(here, four):
    Path("7.png").write_bytes(b"no image")
    Path("list").write_text("".join(f"{i}.png {i}\n" for i in range(20)))
    with pytest.raises(caffe.CaffeError, match=r"list:8: .*7\.png"):
        epochs()


FORKED = """
import os, sys
sys.path.insert(0, sys.argv[1])
from recaffe.data import threads
threads._threads = lambda: 4
assert threads.side_by_side(str, range(9)) == list("012345678")
if os.fork() == 0:
    assert threads.side_by_side(str, range(9)) == list("012345678")
    os._exit(0)
sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))
"""


def test_a_forked_child_has_threads_of_its_own():
    source = Path(threads.__file__).parents[2]
    subprocess.run(
        [sys.executable, "-c", FORKED, str(source)], check=True, timeout=60, env=dict(os.environ)
    )
