"""caffe.Timer."""

from __future__ import annotations

import time

import torch


class Timer:
    """Measures time between :meth:`start` and :meth:`stop`, with what the GPU does meanwhile."""

    def __init__(self) -> None:
        self._started: float | None = None
        self._seconds = 0.0

    def start(self) -> None:
        """Begin to measure; without effect while it measures."""
        if self._started is None:
            self._started = _now()

    def stop(self) -> None:
        """End to measure; without effect if it does not."""
        if self._started is not None:
            self._seconds, self._started = _now() - self._started, None

    @property
    def ms(self) -> float:
        """The milliseconds between the last start and its stop; stops if it still measures."""
        self.stop()
        return 1000 * self._seconds


def _now() -> float:
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return time.perf_counter()
