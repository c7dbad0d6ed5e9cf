"""The prefetcher: order, errors, and the end of its thread."""

from __future__ import annotations

import gc
import itertools
import threading
import time

import pytest

from recaffe.data.prefetch import Prefetcher


def ended(thread: threading.Thread) -> bool:
    thread.join(timeout=5)
    return not thread.is_alive()


def test_results_come_in_order() -> None:
    prefetcher = Prefetcher(itertools.count().__next__, depth=3)
    assert [prefetcher.next() for _ in range(50)] == list(range(50))
    prefetcher.close()


def test_no_more_are_made_than_depth_and_one_in_hand() -> None:
    made: list[int] = []
    prefetcher = Prefetcher(lambda: made.append(len(made)), depth=2)
    deadline = time.monotonic() + 5
    while len(made) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)
    assert len(made) == 3
    prefetcher.close()


def test_made_while_nobody_waits() -> None:
    made = threading.Event()
    prefetcher = Prefetcher(made.set, depth=1)
    assert made.wait(5)
    prefetcher.close()


def test_an_exception_comes_in_its_place_and_stays() -> None:
    results = iter([1, 2])
    prefetcher = Prefetcher(lambda: next(results, None) or 1 // 0, depth=4)
    assert [prefetcher.next(), prefetcher.next()] == [1, 2]
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            prefetcher.next()
    assert ended(prefetcher._thread)


def test_close_ends_the_thread_though_the_queue_is_full() -> None:
    prefetcher = Prefetcher(lambda: 1, depth=1)
    prefetcher.next()
    prefetcher.close()
    assert not prefetcher._thread.is_alive()
    prefetcher.close()
    with pytest.raises(RuntimeError, match="after close"):
        prefetcher.next()


def test_a_forgotten_owner_ends_the_thread() -> None:
    class Owner:
        def __init__(self) -> None:
            self.prefetcher = Prefetcher(lambda: 1, depth=1)

    owner = Owner()
    owner.prefetcher.next()
    thread = owner.prefetcher._thread
    assert thread.is_alive()
    del owner
    gc.collect()
    assert ended(thread)
