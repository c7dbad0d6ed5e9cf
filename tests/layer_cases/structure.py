"""Split: what only moves values."""

from __future__ import annotations

from functools import partial

from layer_cases.case import Case, normal, same

CASES = [
    Case("split", 'type: "Split"', (normal(2, 3),), partial(same, times=3), tops=3),
]

MISTAKES = [
    ("Split", "", [(1,)], 0, "top blob.s., found 0"),
]  # fmt: skip
