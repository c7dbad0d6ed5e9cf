"""A thread that prepares the next batches while the net computes."""

from __future__ import annotations

import queue
import threading
import weakref
from collections.abc import Callable
from typing import Generic, TypeVar

Batch = TypeVar("Batch")


class Prefetcher(Generic[Batch]):
    """Calls ``produce`` in a thread of its own and keeps up to ``depth`` results ready.

    The results come in the order of the calls, so that prefetching changes no number. An
    exception of ``produce`` is raised by :meth:`next`.
    """

    def __init__(self, produce: Callable[[], Batch], depth: int) -> None:
        self._ready: queue.Queue[Batch | BaseException] = queue.Queue(depth)
        self._stopped = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(
            target=_produce_until_stopped, args=(produce, self._ready, self._stopped), daemon=True
        )
        self._thread.start()
        # The thread holds no reference to self, so a forgotten net ends it. So does the end
        # of the interpreter, which would kill the thread within torch and so the process.
        self._finalizer = weakref.finalize(self, _stop, self._thread, self._stopped)

    def next(self) -> Batch:
        """The next result; waits until it is there. After an exception there is no other.

        Raises RuntimeError after :meth:`close`.
        """
        if self._error is not None:
            raise self._error
        if self._stopped.is_set():
            raise RuntimeError("next() after close(): no further batch is prepared")
        result = self._ready.get()
        if isinstance(result, BaseException):
            self._error = result
            raise result
        return result

    def close(self) -> None:
        """End the thread."""
        self._finalizer()


def _stop(thread: threading.Thread, stopped: threading.Event) -> None:
    stopped.set()
    # Garbage may be collected in any thread, in this one too.
    if thread is not threading.current_thread():
        thread.join()


def _produce_until_stopped(
    produce: Callable[[], Batch],
    ready: queue.Queue[Batch | BaseException],
    stopped: threading.Event,
) -> None:
    result: Batch | BaseException
    while not stopped.is_set():
        try:
            result = produce()
        except Exception as error:
            result = error
        while not stopped.is_set():
            try:
                ready.put(result, timeout=0.1)
                break
            except queue.Full:
                continue
        if isinstance(result, BaseException):
            return
