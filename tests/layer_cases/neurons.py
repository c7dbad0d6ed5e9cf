"""Neurons: element by element."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np

from layer_cases.case import TEST, Case, apart, normal, places, same

WIDE = np.array([-100, -30, -1, 0.5, 30, 100], np.float32)


def each(bottoms, params, *, of: Callable[[float], float]):
    top = np.zeros(bottoms[0].shape)
    for place in places(top.shape):
        top[place] = of(float(bottoms[0][place]))
    return [top]


def _neuron(name: str, type_: str, settings: str, bottom, of, **more) -> Case:
    return Case(name, f'type: "{type_}" {settings}', (bottom,), partial(each, of=of), **more)


def _elu(alpha: float):
    return lambda x: x if x > 0 else alpha * (math.exp(x) - 1)


def _logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def _clip(least: float, most: float):
    return lambda x: least if x < least else most if x > most else x


NEURONS = [
    _neuron("relu", "ReLU", "", apart(2, 3, 2), lambda x: x if x > 0 else 0),
    _neuron("relu with slope", "ReLU", "relu_param { negative_slope: 0.25 }", apart(2, 3, 2),
            lambda x: x if x > 0 else 0.25 * x),
    _neuron("relu with a negative slope", "ReLU",
            "relu_param { negative_slope: -0.5 engine: CAFFE }", apart(2, 3, 2),
            lambda x: x if x > 0 else -0.5 * x),
    _neuron("absval", "AbsVal", "", apart(2, 3, 2), abs),
    _neuron("absval of zero", "AbsVal", "", np.array([0, -1, 2], np.float32), abs,
            differentiable=False),
    _neuron("bnll", "BNLL", "", 2 * normal(2, 3, 4), lambda x: math.log(1 + math.exp(x))),
    _neuron("bnll wide", "BNLL", "", WIDE,
            lambda x: x + math.log(1 + math.exp(-x)) if x > 0 else math.log(1 + math.exp(x))),
    _neuron("clip", "Clip", "clip_param { min: -0.9 max: 1.2 }", apart(2, 3, 2), _clip(-0.9, 1.2)),
    _neuron("clip at its ends", "Clip", "clip_param { min: -1 max: 0.5 }",
            np.array([-1.5, -1, 0, 0.5, 1], np.float32), _clip(-1, 0.5), differentiable=False),
    _neuron("clip the wrong way round", "Clip", "clip_param { min: 0.7 max: -0.7 }",
            apart(2, 3, 2), lambda x: 0.7, differentiable=False),
    _neuron("elu", "ELU", "", apart(2, 3, 2), _elu(1)),
    _neuron("elu alpha", "ELU", "elu_param { alpha: 0.4 }", apart(2, 3, 2), _elu(0.4)),
    _neuron("elu negative alpha", "ELU", "elu_param { alpha: -0.4 }", apart(2, 3, 2), _elu(-0.4)),
    _neuron("elu of zero", "ELU", "elu_param { alpha: 0.4 }", np.array([0, -1, 2], np.float32),
            _elu(0.4), differentiable=False),
    _neuron("sigmoid", "Sigmoid", "", 2 * normal(2, 3, 4), _logistic),
    _neuron("sigmoid wide", "Sigmoid", "sigmoid_param { engine: CAFFE }", WIDE, _logistic),
    _neuron("sigmoid of one number", "Sigmoid", "", np.array(0.75, np.float32), _logistic),
    _neuron("tanh", "TanH", "", 2 * normal(2, 3, 4), math.tanh),
    _neuron("tanh wide", "TanH", "tanh_param { engine: CAFFE }", WIDE, math.tanh),
    _neuron("tanh 5-D", "TanH", "", normal(2, 1, 3, 1, 2), math.tanh),
    _neuron("swish", "Swish", "", 2 * normal(2, 3, 4), lambda x: x * _logistic(x)),
    _neuron("swish beta", "Swish", "swish_param { beta: 2.5 }", normal(2, 3, 4),
            lambda x: x * _logistic(2.5 * x)),
    _neuron("swish negative beta", "Swish", "swish_param { beta: -0.5 }", normal(2, 3, 4),
            lambda x: x * _logistic(-0.5 * x)),
    # Threshold's backward aborts: it has none.
    _neuron("threshold", "Threshold", "", np.array([-1, 0, 1e-6, 2], np.float32),
            lambda x: 1 if x > 0 else 0, fixed=(0,), differentiable=False, bvlc_backward=False),
    _neuron("threshold elsewhere", "Threshold", "threshold_param { threshold: 0.5 }",
            np.array([[-1, 0.25], [0.5, 0.75]], np.float32), lambda x: 1 if x > 0.5 else 0,
            fixed=(0,), differentiable=False, bvlc_backward=False),
]  # fmt: skip


def _power(power: float, scale: float = 1, shift: float = 0):
    return lambda x: (scale * x + shift) ** power


def _powered(settings: str, *power: float, bottom=None, **more) -> Case:
    bottom = abs(normal(2, 3, 2)) + 0.25 if bottom is None else bottom
    return _neuron(f"power {settings or 'plain'}", "Power", f"power_param {{ {settings} }}",
                   bottom, _power(*power), **more)  # fmt: skip


POWERS = [
    _powered("", 1, bottom=normal(2, 3)),
    _powered("scale: -2 shift: 0.5", 1, -2, 0.5, bottom=normal(2, 3)),
    _powered("power: 2", 2, bottom=normal(2, 3)),
    _powered("power: 2 scale: -1.5 shift: 0.25", 2, -1.5, 0.25, bottom=normal(2, 3)),
    _powered("power: 3", 3, bottom=apart(2, 3)),
    _powered("power: 3 scale: 0.5 shift: -0.3", 3, 0.5, -0.3, bottom=normal(2, 3)),
    _powered("power: 0.5 scale: 2 shift: 0.25", 0.5, 2, 0.25),
    _powered("power: -1", -1),
    _powered("power: -1.7 scale: 3", -1.7, 3),
    # Constants: their gradient is zero.
    _powered("power: 0", 0, bottom=np.array([-1, 0, 2], np.float32), differentiable=False),
    _powered("scale: 0 shift: 3 power: 2", 2, 0, 3, differentiable=False),
    _powered("scale: 0 power: 0.5", 0.5, 0, differentiable=False),
]


def _exp(settings: str, base: float, scale: float = 1, shift: float = 0, **more) -> Case:
    return _neuron(f"exp {settings or 'plain'}", "Exp", f"exp_param {{ {settings} }}",
                   normal(2, 3, 2), lambda x: base ** (scale * x + shift), **more)  # fmt: skip


def _log(settings: str, base: float, scale: float = 1, shift: float = 0) -> Case:
    return _neuron(f"log {settings or 'plain'}", "Log", f"log_param {{ {settings} }}",
                   abs(normal(2, 3, 2)) + 0.25,
                   lambda x: math.log(scale * x + shift) / math.log(base))  # fmt: skip


EXPONENTIALS = [
    _exp("", math.e),
    _exp("base: 2", 2),
    _exp("base: 0.5 scale: -1.5", 0.5, -1.5),
    _exp("shift: 0.75", math.e, 1, 0.75),
    _exp("base: 3 scale: 0.5 shift: -1", 3, 0.5, -1),
    _exp("base: -1 scale: 2", math.e, 2),
    _exp("base: 1 shift: 2", 1, differentiable=False),
    _log("", math.e),
    _log("base: 2", 2),
    _log("base: 0.5 scale: 3", 0.5, 3),
    _log("shift: 0.75", math.e, 1, 0.75),
    _log("base: 10 scale: 0.5 shift: 1", 10, 0.5, 1),
    _log("base: -1 scale: 2", math.e, 2),
]


def prelu(bottoms, params, *, shared=False):
    (bottom,), (slope,) = bottoms, params
    top = np.zeros(bottom.shape)
    for place in places(bottom.shape):
        x = float(bottom[place])
        top[place] = x if x > 0 else x * float(slope if shared else slope[place[1]])
    return [top]


def _prelu(name: str, bottom, shared: bool = False, differentiable: bool = True) -> Case:
    settings = "prelu_param { channel_shared: true }" if shared else ""
    return Case(f"prelu {name}", f'type: "PReLU" {settings}', (bottom,),
                partial(prelu, shared=shared), differentiable=differentiable)  # fmt: skip


PRELUS = [
    _prelu("4-D", apart(2, 3, 2, 2)),
    _prelu("2-D", apart(3, 4)),
    _prelu("one channel", apart(3, 1, 2)),
    _prelu("shared", apart(2, 3, 2), shared=True),
    _prelu("of zero", np.array([[0, -1], [2, 0]], np.float32), differentiable=False),
]


def times(bottoms, params, *, factor):
    return [factor * bottoms[0].astype(float)]


DROPOUTS = [
    Case("dropout at test", 'type: "Dropout" dropout_param { dropout_ratio: 0.75 }',
         (normal(3, 4),), same, phase=TEST),
    Case("dropout of nothing", 'type: "Dropout" dropout_param { dropout_ratio: 0 }',
         (normal(3, 4),), same),
    # scale_train is not of BVLC's message.
    Case("dropout at test, scaled there",
         'type: "Dropout" dropout_param { dropout_ratio: 0.75 scale_train: false }',
         (normal(3, 4),), partial(times, factor=0.25), phase=TEST, bvlc=False),
]  # fmt: skip

CASES = [*NEURONS, *POWERS, *EXPONENTIALS, *PRELUS, *DROPOUTS]

_NEURON = ["AbsVal", "BNLL", "Clip", "Dropout", "ELU", "Exp", "Log", "PReLU", "Power", "ReLU",
           "Sigmoid", "Swish", "TanH", "Threshold"]  # fmt: skip
MISTAKES = [
    *((type_, "", [(2, 3)], 2, "expected 1 top blob.s., found 2") for type_ in _NEURON),
    *((type_, "", [(2, 3)], 0, "expected 1 top blob.s., found 0") for type_ in _NEURON),
    *((type_, "", [(2, 3)] * 2, 1, "expected 1 bottom blob.s., found 2") for type_ in _NEURON),
    ("Dropout", "dropout_param { dropout_ratio: 1 }", [(2, 3)], 1, "below 1, found 1"),
    ("Exp", "exp_param { base: 0 }", [(2,)], 1, "base must be positive, or -1 for e, found 0"),
    ("Exp", "exp_param { base: -2 }", [(2,)], 1, "or -1 for e, found -2"),
    ("Exp", "exp_param { base: inf }", [(2,)], 1, "or -1 for e, found inf"),
    ("Log", "log_param { base: 0 }", [(2,)], 1, "or -1 for e, found 0"),
    ("Log", "log_param { base: -0.5 }", [(2,)], 1, "or -1 for e, found -0.5"),
    ("Log", "log_param { base: 1 }", [(2,)], 1, "no logarithm of base 1"),
    ("PReLU", "", [(3,)], 1, r"\(N, C, ...\), found \[3\]"),
    ("PReLU", "", [(1, 2, 1, 1, 1)], 1, r"two to four axes .* found \[1, 2, 1, 1, 1\]"),
    ("PReLU", 'prelu_param { channel_shared: true filler { type: "xavier" } }', [(2, 3)], 1,
     "the xavier filler needs an axis at least, found a single number"),
]  # fmt: skip
