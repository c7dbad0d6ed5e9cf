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


def random_state(generator: np.random.Generator) -> dict[str, Any]:
    """The state of ``generator`` as JSON's values."""
    return dict(generator.bit_generator.state)


def set_random_state(generator: np.random.Generator, state: Mapping[str, Any]) -> None:
    """Let ``generator`` go on from what :func:`random_state` gave under ``random``.

    Of several solvers that train together, the first one's numbers are in the snapshot; the
    others go on with numbers of their own, which follow from those.

    Raises:
        DataError: no such state.
    """
    try:
        generator.bit_generator.state = state["random"]
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise DataError(f"no state of random numbers ({type(error).__name__}: {error})") from None
    if context.solver_rank:
        seeds = [int(generator.integers(1 << 62)), context.solver_rank]
        generator.bit_generator.state = np.random.PCG64(seeds).state
