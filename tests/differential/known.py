"""Where ours differs from BVLC's build on purpose, and why."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from differential.draw import NetCase
from differential.draw_solvers import SolverCase


@dataclass(frozen=True)
class Known:
    """A difference: the layer type it is met in, and what the comparison says of it."""

    type: str
    says: str
    reason: str


KNOWN: list[Known] = []


def reason(case: NetCase | SolverCase, told: Sequence[str]) -> str | None:
    """Why all that was told of a case is as we want it; None if some of it is not."""
    reasons = [
        next((known.reason for known in KNOWN
              if known.type in ("", case.type) and re.search(known.says, line, re.S)), None)
        for line in told
    ]  # fmt: skip
    return None if None in reasons else "; ".join(sorted(set(filter(None, reasons))))
