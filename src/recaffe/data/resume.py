"""What readers tell a snapshot of themselves, and how they go on from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from recaffe.context import context
from recaffe.errors import DataError


def natural(state: Mapping[str, Any], name: str) -> int:
    """The number ``name``, from 0 on.

    Raises:
        DataError: there is none.
    """
    value = state.get(name)
    if type(value) is not int or value < 0:
        raise DataError(f"expected {name} to be a number from 0 on, found {value!r}")
    return value


class Drawing:
    """What draws random numbers of its own, from ``seed``, and can go on drawing them."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.Generator(np.random.PCG64(seed))

    def state(self) -> dict[str, Any]:
        """The random numbers' state, as JSON's values."""
        return {"random": dict(self._random.bit_generator.state), "rank": context.solver_rank}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what :meth:`state` gave.

        A solver of another rank than that which drew them goes on with numbers of its own, which
        follow from those.

        Raises:
            DataError: no such state.
        """
        bits = self._random.bit_generator
        try:
            bits.state = state["random"]
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise DataError(
                f"no state of random numbers ({type(error).__name__}: {error})"
            ) from None
        if context.solver_rank != state.get("rank", 0):
            seeds = [int(self._random.integers(1 << 62)), context.solver_rank]
            bits.state = np.random.PCG64(seeds).state
