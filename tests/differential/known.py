"""Where ours differs from BVLC's build on purpose, and why.

An entry asks for all that makes a case differ, its settings and values as well: one that asked
for less would hide mistakes of ours in the cases beside it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from google.protobuf import text_format

from caffe.proto import caffe_pb2
from differential.draw import NetCase
from differential.draw_solvers import SolverCase


@dataclass(frozen=True)
class Question:
    """A case, and in it the layer that was drawn."""

    case: NetCase
    it: Any

    def given(self, bottom: int) -> np.ndarray:
        """The values of that bottom of the layer."""
        return self.case.values[self.it.bottom[bottom].replace("b", "x")]

    @property
    def overwrites(self) -> bool:
        """Whether a top is a bottom as well."""
        return not set(self.it.top).isdisjoint(self.it.bottom)

    @property
    def in_place(self) -> bool:
        """Whether the one top is the one bottom."""
        return list(self.it.top) == list(self.it.bottom)


@dataclass(frozen=True)
class Known:
    """A difference: which layers it is met in, and what the comparison says of them.

    Attributes:
        type: their types, a pattern.
        when: what they must be like.
        says: a pattern for a whole sentence of the comparison.
    """

    type: str
    when: Callable[[Question], bool]
    says: str
    reason: str


_OURS = r"only ours refuses: layer 'it' \(\w+\): "
# All that a gradient of the drawn layer reaches, where it overwrites its bottom.
_GRADIENT = r"(blob diff b0|param diff b0 0)\[[\d, ]*\]: "


def _one_weight_for_two_tops(asked: Question) -> bool:
    return len(asked.it.top) == 2 and len(asked.it.loss_weight) <= 1


def _ratio_is_outside(asked: Question) -> bool:
    return not 0 <= asked.it.dropout_param.dropout_ratio < 1


def _an_index_is_outside(asked: Question) -> bool:
    index = asked.given(0)
    return bool(((index < 0) | (index >= asked.it.embed_param.input_dim)).any())


def _more_labels_than_items(asked: Question) -> bool:
    return asked.given(-1).size > len(asked.given(0))


def _a_label_is_outside(asked: Question) -> bool:
    scores, labels = asked.given(0), asked.given(1)
    return bool(((labels < 0) | (labels >= scores[0].size)).any())


KNOWN = [
    Known(
        "BatchReindex|ContrastiveLoss|Deconvolution|Eltwise|Filter|Im2col|InnerProduct|LSTMUnit|"
        "MultinomialLogisticLoss|RNN|Reduction|Slice",
        lambda asked: asked.overwrites,
        _OURS + "top 'b0' is a bottom as well: this layer cannot work in place; .*",
        "BVLC lets it overwrite what its own forward or backward reads after that",
    ),
    Known(
        "BNLL", lambda asked: asked.in_place, _GRADIENT + ".*",
        "in place BVLC's backward reads the top where it wants the bottom",
    ),
    Known(
        "ReLU", lambda asked: asked.in_place and asked.it.relu_param.negative_slope < 0,
        _GRADIENT + ".*",
        "in place with a negative slope BVLC's backward cannot tell the bottom's sign by the top",
    ),
    Known(
        "ELU", lambda asked: asked.in_place and asked.it.elu_param.alpha < 0, _GRADIENT + ".*",
        "in place with a negative alpha BVLC's backward cannot tell the bottom's sign by the top",
    ),
    Known(
        "InfogainLoss", _one_weight_for_two_tops,
        r"only BVLC refuses: .*\(2 vs\. 1\) loss_weight must be unspecified or specified once.*",
        "BVLC forgets the weight of the probabilities, its second top, as for SoftmaxWithLoss",
    ),
    Known(
        "Convolution|Deconvolution|Im2col",
        lambda asked: 0 in asked.it.convolution_param.dilation,
        _OURS + "dilation must be at least 1, .*",
        "a kernel whose taps all read one value is a mistake",
    ),
    Known(
        "Dropout", _ratio_is_outside, _OURS + "dropout_ratio must be at least 0 and below 1, .*",
        "BVLC checks it in debug builds alone",
    ),
    Known(
        "Embed", _an_index_is_outside, _OURS + "index .* found, but input_dim .*",
        "BVLC reads beyond the weights",
    ),
    Known(
        "HingeLoss|ContrastiveLoss", _more_labels_than_items, _OURS + ".*items need .* labels.*",
        "BVLC takes the first of too many labels, whatever the others are",
    ),
    Known(
        "HingeLoss|MultinomialLogisticLoss", _a_label_is_outside,
        _OURS + "label .* found, but there are .*",
        "BVLC reads and writes beyond the scores",
    ),
    Known(
        "Log", lambda asked: asked.it.log_param.scale == 0,
        r"(blob diff b0|param diff b0 0)\[[\d, ]*\]: np\.float32\(nan\), "
        r"expected np\.float32\(-?0\.0\), .*",
        "infinity times a scale of 0 is NaN, and 0 in the BLAS of BVLC's build",
    ),
]  # fmt: skip


def reason(case: NetCase | SolverCase, told: Sequence[str]) -> str | None:
    """Why all that was told of a case is as we want it; None if some of it is not."""
    found = known_of(case, told)
    return None if None in found else "; ".join(sorted({known.reason for known in found if known}))


def known_of(case: NetCase | SolverCase, told: Sequence[str]) -> list[Known | None]:
    """The entry that tells of each sentence; None where none does."""
    asked = _question(case)
    return [_known(asked, line) if asked else None for line in told]


def _question(case: NetCase | SolverCase) -> Question | None:
    """None for a case without a single drawn layer: nothing is known of those."""
    if isinstance(case, SolverCase):
        return None
    layers = text_format.Parse(case.net, caffe_pb2.NetParameter()).layer
    drawn = [layer for layer in layers if layer.name == "it"]
    return Question(case, drawn[0]) if drawn else None


def _known(asked: Question, line: str) -> Known | None:
    for known in KNOWN:
        if (
            re.fullmatch(known.type, asked.case.type)
            and re.fullmatch(known.says, line, re.S)
            and known.when(asked)
        ):
            return known
    return None
