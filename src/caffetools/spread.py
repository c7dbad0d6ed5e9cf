"""Some items of many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

Item = TypeVar("Item")


def spread(items: Sequence[Item], count: int) -> list[Item]:
    """``count`` of ``items``, evenly spaced (all of them where there are fewer)."""
    count = min(count, len(items))
    return [items[position * len(items) // count] for position in range(count)]
