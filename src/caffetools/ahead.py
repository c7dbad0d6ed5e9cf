"""Working ahead of whoever takes the results, on all cores, a few items at a time."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Optional, TypeVar

_EACH = 8  # items that wait for each worker, at most

Item = TypeVar("Item")
Result = TypeVar("Result")


def ahead(
    function: Callable[[Item], Result], items: Iterable[Item], workers: Optional[int] = None
) -> Iterator[Result]:
    """``map(function, items)`` in threads, for functions that decode images and the like.

    Results come in the items' order, whatever the number of ``workers`` (without it, one for
    each core that the process may use), and few wait at a time, whatever the number of items.
    """
    workers = workers or len(os.sched_getaffinity(0))
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(max_workers=workers) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) >= _EACH * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
