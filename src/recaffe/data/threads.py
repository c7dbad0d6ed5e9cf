"""Threads that read, decode and transform the images of a batch side by side."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache
from itertools import pairwise
from typing import TypeVar

_MOST = 16  # threads; what a batch is divided among

Item = TypeVar("Item")
Result = TypeVar("Result")


def side_by_side(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """``[function(item) for item in items]``, a part in this thread and a part in each other.

    There are as many as the process may use cores. Of several exceptions the first in the order
    of the items is raised, once none of the threads is at work any more: the items may be views of
    a memory that goes with whoever catches it.
    """
    parts = min(_threads(), len(items))
    if parts < 2:
        return [function(item) for item in items]
    bounds = [len(items) * part // parts for part in range(parts + 1)]
    others = [
        _pool().submit(_each, function, items[start:end]) for start, end in pairwise(bounds[1:])
    ]
    try:
        results = _each(function, items[: bounds[1]])
    finally:
        wait(others)
    for other in others:
        results += other.result()
    return results


def _each(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    return [function(item) for item in items]


def _threads() -> int:
    return min(_MOST, len(os.sched_getaffinity(0)))


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_threads() - 1, thread_name_prefix="images")


# A forked child has the pool, and none of its threads.
os.register_at_fork(after_in_child=_pool.cache_clear)
