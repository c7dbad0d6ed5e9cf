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


_OURS = "^only ours refuses: .*"
_BVLCS = "^only BVLC refuses: .*"

KNOWN = [
    Known(
        "", _OURS + "this layer cannot work in place",
        "BVLC lets it overwrite what its own forward or backward reads after that",
    ),
    Known(
        "BNLL", "diff ", "in place BVLC's backward reads the top where it wants the bottom",
    ),
    Known(
        "InfogainLoss", _BVLCS + "loss_weight must be unspecified or specified once per top",
        "BVLC forgets the weight of the probabilities, its second top, as for SoftmaxWithLoss",
    ),
    Known(
        "", _OURS + "dilation must be at least 1",
        "a kernel whose taps all read one value is a mistake",
    ),
    Known(
        "Dropout", _OURS + "dropout_ratio must be at least 0 and below 1",
        "BVLC checks it in debug builds alone",
    ),
    Known(
        "Embed", _OURS + "index .* found, but input_dim",
        "BVLC reads beyond the weights",
    ),
    Known(
        "HingeLoss|ContrastiveLoss", _OURS + "items need .* labels",
        "BVLC takes the first of too many labels, whatever the others are",
    ),
    Known(
        "HingeLoss|MultinomialLogisticLoss", _OURS + "label .* found, but there are",
        "BVLC reads and writes beyond the scores",
    ),
    Known(
        "Concat|Slice", "blob b0",
        "one top of one bottom is the bottom's own memory in BVLC, which the layer after it "
        "then overwrites in place",
    ),
    Known(
        "ELU|ReLU", "diff ",
        "in place with a negative slope BVLC's backward cannot tell the bottom's sign by the top",
    ),
    Known(
        "Log", r"diff .*nan'?\), expected np.float32\(-?0.0\)",
        "infinity times a scale of 0 is NaN, and 0 in the BLAS of BVLC's build",
    ),
]  # fmt: skip


# Those that a comparison met so far.
MET: set[Known] = set()


def reason(case: NetCase | SolverCase, told: Sequence[str]) -> str | None:
    """Why all that was told of a case is as we want it; None if some of it is not."""
    found = [_known(case.type, line) for line in told]
    MET.update(known for known in found if known)
    return None if None in found else "; ".join(sorted({known.reason for known in found if known}))


def _known(type_: str, line: str) -> Known | None:
    for known in KNOWN:
        if re.fullmatch(known.type or ".*", type_) and re.search(known.says, line, re.S):
            return known
    return None
