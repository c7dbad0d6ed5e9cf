"""Which shapes a blob may have.

Source: ``Blob::Reshape`` in ``blob.cpp``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

MAX_COUNT = 2**31 - 1
MAX_AXES = 32


def why_impossible(shape: Sequence[int]) -> str:
    """Why no blob can have ``shape``; empty if one can."""
    if len(shape) > MAX_AXES:
        return f"a blob has {len(shape)} axes, more than {MAX_AXES}"
    if min(shape, default=0) < 0:
        return f"a blob cannot have the shape {list(shape)}"
    # Axes of length 0 hide no others: NumPy has bounds of its own.
    count = math.prod(shape) or math.prod(max(dim, 1) for dim in shape)
    if count > MAX_COUNT:
        return f"a blob cannot have the shape {list(shape)}: expected at most {MAX_COUNT} values"
    return ""
