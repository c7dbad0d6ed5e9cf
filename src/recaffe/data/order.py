"""The order in which items come, over and over."""

from __future__ import annotations

import numpy as np


def turn_order(count: int, seed: int | None, turn: int) -> np.ndarray:
    """The indices of ``count`` items in the order of their ``turn``-th turn, from 0.

    Without a seed that is their own order. With one it is a new one each turn, which follows
    from ``seed`` and ``turn`` alone, so that a reader can start anywhere.
    """
    if seed is None:
        return np.arange(count)
    return np.random.Generator(np.random.PCG64([seed, turn])).permutation(count)
