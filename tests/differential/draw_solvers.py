"""Solvers with random rules, policies and factors, over a small net."""

from __future__ import annotations

import itertools
import zlib
from dataclasses import dataclass

import numpy as np

from differential.draw import Random, chance, integer, number, pick, some

TYPES = ("SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam")
# These have no momentum: BVLC refuses one.
WITHOUT_MOMENTUM = ("AdaGrad", "RMSProp")
# Adam divides a gradient by its own size. Where that is 1e-4 of what was summed to it, a start
# that is half a unit of rounding away moves an update by 1e-3: nothing to compare.
UNSTEADY = {59}


@dataclass(frozen=True)
class SolverCase:
    """A solver, its net, and how many steps it makes."""

    name: str
    type: str
    solver: str
    net: str
    steps: int

    def texts(self) -> list[str]:
        """What a report of the case shows."""
        return [self.solver, self.net]

    def job(self) -> dict:
        """What :mod:`differential.run_solvers` is told."""
        return {
            "name": self.name,
            "solver": self.solver,
            "net": self.net,
            "steps": self.steps,
            "seed": zlib.crc32(self.name.encode()),
        }


def draw_solvers(count: int) -> list[SolverCase]:
    """The first ``count`` solvers that can be compared."""
    numbers = (number for number in itertools.count() if number not in UNSTEADY)
    return [draw_solver(number) for number in itertools.islice(numbers, count)]


def draw_solver(number_: int) -> SolverCase:
    """Case ``number_``; the same for ever. The types take turns."""
    type_ = TYPES[number_ % len(TYPES)]
    random = np.random.Generator(np.random.PCG64(zlib.crc32(b"solver %d" % number_)))
    steps = integer(random, 2, 8)
    rate = {"AdaDelta": number(random, 0.5, 1), "SGD": number(random, 0.05, 0.5)}
    settings = [
        'net: "net.prototxt" snapshot_prefix: "s" solver_mode: CPU',
        f'type: "{type_}" base_lr: {rate.get(type_, number(random, 0.01, 0.2))}',
        _policy(random, steps),
        _rule(random, type_),
        some(random, weight_decay=number(random, 0.001, 0.2), clip_gradients=number(random, 0.1, 2),
             iter_size=integer(random, 1, 3)),
        some(random, regularization_type=pick(random, '"L1"', '"L2"')),
    ]  # fmt: skip
    return SolverCase(f"{type_} {number_}", type_, "\n".join(settings), _net(random), steps)


def _policy(random: Random, steps: int) -> str:
    policy = pick(random, "fixed", "step", "exp", "inv", "multistep", "poly", "sigmoid")
    more = {
        "fixed": "",
        "step": f"gamma: {number(random, 0.1, 0.9)} stepsize: {integer(random, 1, 4)}",
        "exp": f"gamma: {number(random, 0.5, 0.99)}",
        "inv": f"gamma: {number(random, 0.01, 1)} power: {number(random, 0.5, 1.5)}",
        "multistep": f"gamma: {number(random, 0.1, 0.9)} "
        + " ".join(f"stepvalue: {at}" for at in sorted(random.integers(1, 7, size=2).tolist())),
        "poly": f"power: {number(random, 0.5, 2)}",
        "sigmoid": f"gamma: {number(random, 0, 1)} stepsize: {integer(random, 1, 6)}",
    }
    return f'lr_policy: "{policy}" {more[policy]} max_iter: {steps + integer(random, 0, 3)}'


def _rule(random: Random, type_: str) -> str:
    momentum = number(random, 0.3, 0.98)
    settings = "" if type_ in WITHOUT_MOMENTUM else some(random, momentum=momentum)
    if type_ == "AdaDelta":
        settings = f"momentum: {momentum} "
    if type_ in ("AdaGrad", "RMSProp", "AdaDelta", "Adam"):
        settings += " " + some(random, delta=pick(random, 1e-8, 1e-6, 1e-3, 0.1))
    if type_ == "RMSProp":
        settings += " " + some(random, rms_decay=number(random, 0.5, 0.99))
    if type_ == "Adam":
        settings += " " + some(random, momentum2=number(random, 0.5, 0.999))
    return settings


def _spec(random: Random, name: str = "") -> str:
    factors = some(random, lr_mult=pick(random, 0, 0.5, 1, 2), decay_mult=pick(random, 0, 1, 2))
    return f"param {{ {f'name: {name!r}' if name else factors} }}"


def _net(random: Random) -> str:
    width = integer(random, 2, 4)
    shared = chance(random, 0.25)

    def layer(name: str, bottom: str) -> str:
        specs = [_spec(random, "w" if shared and name != "last" else ""), _spec(random)]
        bias = pick(random, "", "", "bias_term: false")
        return (
            f'layer {{ name: "{name}" type: "InnerProduct" bottom: "{bottom}" top: "{name}" '
            f"{' '.join(specs[: 1 if bias else 2])} "
            f"inner_product_param {{ num_output: {width} {bias} }} }}\n"
        )

    neuron = pick(random, "Sigmoid", "TanH", "ReLU")
    return f"""
    layer {{ name: "data" type: "Input" top: "data" top: "label"
      input_param {{ shape {{ dim: 4 dim: {width} }} shape {{ dim: 4 }} }} }}
    {layer("first", "data")}
    layer {{ name: "neuron" type: "{neuron}" bottom: "first" top: "first" }}
    {layer("second", "first")}{layer("last", "second")}
    layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "last" bottom: "label" top: "loss" }}
    """
