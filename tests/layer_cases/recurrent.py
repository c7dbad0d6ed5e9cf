"""RNN, LSTM and LSTMUnit."""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from layer_cases.case import Case, normal


def _sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def _cell_step(cell, gates, cont) -> tuple[np.ndarray, np.ndarray]:
    """One stream's new cell and hidden state."""
    size = len(cell)
    new_cell, hidden = np.zeros(size), np.zeros(size)
    for d in range(size):
        at_input, forget, output = (_sigmoid(gates[gate * size + d]) for gate in range(3))
        candidate = math.tanh(gates[3 * size + d])
        new_cell[d] = cont * forget * cell[d] + at_input * candidate
        hidden[d] = output * math.tanh(new_cell[d])
    return new_cell, hidden


def lstm_unit(bottoms, params):
    cell, gates, cont = (bottom.astype(float) for bottom in bottoms)
    tops = np.zeros((2, *cell.shape))
    for n in range(cell.shape[1]):
        tops[:, 0, n] = _cell_step(cell[0, n], gates[0, n], cont[0, n])
    return list(tops)


def _streams(bottoms, static: bool, states: int):
    """Each stream's inputs, cont, static input, and states before the first step."""
    x, cont = bottoms[0].astype(float), bottoms[1].astype(float)
    before = [bottom[0].astype(float) for bottom in bottoms[2 + static :]]
    for n in range(x.shape[1]):
        yield (
            x[:, n].reshape(len(x), -1),
            cont[:, n],
            bottoms[2][n].astype(float).ravel() if static else None,
            [state[n] for state in before] if before else None,
        )


def lstm(bottoms, params, *, static=False, exposed=False):
    weight, bias, *static_weight, recurrent = (param.astype(float) for param in params)
    size = recurrent.shape[1]
    all_hidden, last = [], []
    for x, cont, fixed, before in _streams(bottoms, static, 2):
        hidden, cell = before or (np.zeros(size), np.zeros(size))
        seen = []
        for step, going_on in zip(x, cont, strict=True):
            gates = weight @ step + bias + recurrent @ (going_on * hidden)
            if static:
                gates = gates + static_weight[0] @ fixed
            cell, hidden = _cell_step(cell, gates, going_on)
            seen.append(hidden)
        all_hidden.append(seen)
        last.append((hidden, cell))
    top = np.array(all_hidden).swapaxes(0, 1)
    return [top, *(np.array(state)[None] for state in zip(*last, strict=True))][
        : 3 if exposed else 1
    ]


def rnn(bottoms, params, *, static=False, exposed=False):
    weight, bias, *static_weight, recurrent, out, out_bias = (p.astype(float) for p in params)
    outputs, last = [], []
    for x, cont, fixed, before in _streams(bottoms, static, 1):
        (hidden,) = before or (np.zeros(len(recurrent)),)
        seen = []
        for step, going_on in zip(x, cont, strict=True):
            inner = weight @ step + bias + recurrent @ (going_on * hidden)
            if static:
                inner = inner + static_weight[0] @ fixed
            hidden = np.tanh(inner)
            seen.append(np.tanh(out @ hidden + out_bias))
        outputs.append(seen)
        last.append(hidden)
    top = np.array(outputs).swapaxes(0, 1)
    return [top, np.array(last)[None]][: 2 if exposed else 1]


# Sequences start at the first step, so that the state before does not matter, and in between.
_CONT = np.array([[0, 0, 0], [1, 1, 0], [1, 0, 1], [1, 1, 1]], np.float32)
_GOING_ON = np.array([[1, 0, 1], [1, 1, 0], [0, 1, 1]], np.float32)


def _case(type_: str, states: int, name: str, x, cont, *more, settings: str = "", **options):
    static, exposed = bool(more), "expose_hidden" in settings
    before = [normal(1, x.shape[1], 2, seed=7 + i) for i in range(states)] if exposed else []
    return Case(
        f"{type_.lower()} {name}",
        f'type: "{type_}" recurrent_param {{ num_output: 2 {settings} }}',
        (x, cont, *more, *before),
        partial(lstm if type_ == "LSTM" else rnn, static=static, exposed=exposed),
        labels=len(before), fixed=(1,), tops=1 + len(before), **options,
    )  # fmt: skip


def _cases(type_: str, states: int) -> list[Case]:
    case = partial(_case, type_, states)
    return [
        case("plain", normal(4, 3, 2), _CONT),
        case("several axes", normal(4, 3, 2, 1, 2), _CONT, settings="debug_info: true"),
        case("static", normal(4, 3, 2), _CONT, normal(3, 4, seed=1)),
        case("static of several axes", normal(4, 3, 1), _CONT, normal(3, 2, 2, seed=1)),
        case("exposed", normal(3, 3, 2), _GOING_ON, settings="expose_hidden: true"),
        case("static, exposed", normal(3, 3, 2), _GOING_ON, normal(3, 3, seed=1),
             settings="expose_hidden: true"),
        case("one step", normal(1, 3, 2), _GOING_ON[:1], settings="expose_hidden: true"),
        # what went before the first forward is zero; later ones are no function of the bottoms
        case("state of zero", normal(3, 3, 2), _GOING_ON, differentiable=False),
        # Where cont is neither 0 nor 1, BVLC's gradient of an LSTM is not that of its forward.
        case("cont of any value", normal(3, 2, 2),
             np.array([[0, 0], [0.5, -1], [2, 0.25]], np.float32),
             bvlc_backward=type_ == "RNN"),
    ]  # fmt: skip


UNITS = [
    Case("lstm unit", 'type: "LSTMUnit"',
         (normal(1, 3, 2), normal(1, 3, 8, seed=1), np.array([[1, 0, 1]], np.float32)),
         lstm_unit, labels=1, tops=2),
    Case("lstm unit, cont of any value", 'type: "LSTMUnit"',
         (normal(1, 3, 2), normal(1, 3, 8, seed=1), np.array([[2, -1, 0.5]], np.float32)),
         lstm_unit, labels=1, tops=2, bvlc_backward=False),
    Case("lstm unit, one stream", 'type: "LSTMUnit"',
         (normal(1, 1, 3), normal(1, 1, 12, seed=1), np.ones((1, 1), np.float32)),
         lstm_unit, labels=1, tops=2),
]  # fmt: skip

CASES = [*_cases("LSTM", 2), *_cases("RNN", 1), *UNITS]

X, CONT = (3, 2, 4), (3, 2)
SIZE = "recurrent_param { num_output: 2 }"
EXPOSED = "recurrent_param { num_output: 2 expose_hidden: true }"
STATE = (1, 2, 2)
MISTAKES = [
    *(row
      for type_, states in (("LSTM", 2), ("RNN", 1))
      for row in [
          (type_, "", [X, CONT], 1, "num_output must be at least 1"),
          (type_, SIZE, [CONT, CONT], 1, r"first bottom \(T, N, ...\), found \[3, 2\]"),
          (type_, SIZE, [X, (3, 2, 1)], 1, r"cont, of shape \[3, 2\].* found \[3, 2, 1\]"),
          (type_, SIZE, [X, (2, 2)], 1, r"found \[2, 2\]"),
          (type_, SIZE, [X, CONT, (3, 3)], 1, r"static input \(2, ...\) .* found \[3, 3\]"),
          (type_, SIZE, [X, CONT, (2,)], 1, r"static input .* found \[2\]"),
          (type_, SIZE, [X], 1, "bottom blob.s., found 1"),
          (type_, SIZE, [X, CONT, (2, 1), (2, 1)], 1, "2 to 3 bottom blob.s., found 4"),
          (type_, SIZE, [X, CONT], 2, "1 top blob.s., found 2"),
          (type_, EXPOSED, [X, CONT, *[STATE] * states], 1, f"expected {1 + states} top"),
          (type_, EXPOSED, [X, CONT, *[STATE] * (states - 1)], 1 + states,
           f"{2 + states} to {3 + states} bottom"),
          (type_, EXPOSED, [X, CONT, *[(1, 2, 3)] * states], 1 + states,
           r"states of shape \[1, 2, 2\], found \[1, 2, 3\]"),
      ]),
    ("LSTMUnit", "", [(2, 3), (1, 2, 12), (1, 2)], 2, r"a cell \(1, N, D\), found \[2, 3\]"),
    ("LSTMUnit", "", [(2, 2, 3), (2, 2, 12), (2, 2)], 2, r"\(1, N, D\), found \[2, 2, 3\]"),
    ("LSTMUnit", "", [(1, 2, 3), (1, 2, 11), (1, 2)], 2, r"needs gates \[1, 2, 12\] .* 11\]"),
    ("LSTMUnit", "", [(1, 2, 3), (1, 2, 12), (2,)], 2, r"and cont \[1, 2\], .* and \[2\]"),
    ("LSTMUnit", "", [(1, 2, 3), (1, 2, 12), (1, 2)], 1, "2 top blob.s., found 1"),
]  # fmt: skip
