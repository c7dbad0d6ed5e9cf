"""How a case is drawn: a layer with random parameters, and a net around it.

Every layer type has a drawer, registered as layers are. A drawer gives the layer's prototxt
and the values of its bottoms. The net around it makes each bottom depend on a parameter, so
that its gradient is needed as in training, and sometimes lets a top be consumed twice or be
overwritten in place.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

TRAIN, TEST = 0, 1
Random = np.random.Generator


@dataclass(frozen=True)
class Drawn:
    """A layer with bottoms.

    Attributes:
        settings: its prototxt without name, type, bottoms and tops.
        bottoms: their values.
        fixed: the indices of bottoms that have no gradient: labels, indices.
        tops: how many it has.
        smooth: whether its tops may go through further layers and have a gradient.
        params: how its parameters are drawn: "normal", or "positive" where a root is taken.
        in_place: whether it may overwrite its bottom, with the right gradient in BVLC too.
        overwritable: whether its first top may be overwritten by the next layer. In BVLC's
            build it may not if the layer's own backward reads it, or its memory is the
            bottom's as well; see :mod:`differential.known`.
    """

    settings: str
    bottoms: Sequence[np.ndarray]
    fixed: Sequence[int] = ()
    tops: int = 1
    smooth: bool = True
    params: str = "normal"
    in_place: bool = False
    overwritable: bool = True


@dataclass(frozen=True)
class NetCase:
    """A whole net, and what it starts from; what both Caffes are given.

    Attributes:
        values: of the Input blobs, by name.
        params: how the parameters are drawn that are filled.
        filled: the name of the layer whose parameters are filled; empty for all layers.
        backward: whether it has a gradient at all.
    """

    name: str
    type: str
    net: str
    phase: int
    params: str
    backward: bool
    filled: str
    values: dict[str, np.ndarray] = field(repr=False)

    def texts(self) -> list[str]:
        """What a report of the case shows."""
        return [self.net]

    def job(self) -> dict:
        """What :mod:`differential.run_nets` is told, but for the values."""
        return {
            "name": self.name,
            "net": self.net,
            "phase": self.phase,
            "params": self.params,
            "backward": self.backward,
            "filled": self.filled,
            "seed": zlib.crc32(self.name.encode()),
        }


Drawer = Callable[[Random], Drawn]
DRAWERS: dict[str, Drawer] = {}


def draws(type_: str) -> Callable[[Drawer], Drawer]:
    """Register a function as the drawer of layers of that type."""

    def add(drawer: Drawer) -> Drawer:
        if type_ in DRAWERS:
            raise ValueError(f"two drawers for '{type_}'")
        DRAWERS[type_] = drawer
        return drawer

    return add


# -- small draws --------------------------------------------------------------------------


def chance(random: Random, probability: float = 0.5) -> bool:
    return bool(random.random() < probability)


def integer(random: Random, least: int, most: int) -> int:
    return int(random.integers(least, most + 1))


def pick(random: Random, *choices):
    return choices[int(random.integers(len(choices)))]


def number(random: Random, least: float, most: float) -> float:
    """A number between the two that three decimals can tell."""
    return round(float(random.uniform(least, most)), 3)


def some_shape(random: Random, least_axes: int = 1, most_axes: int = 5, most: int = 5):
    return tuple(integer(random, 1, most) for _ in range(integer(random, least_axes, most_axes)))


def normal(random: Random, shape: Sequence[int]) -> np.ndarray:
    return random.normal(size=tuple(shape)).astype(np.float32)


def uniform(random: Random, shape: Sequence[int], least: float, most: float) -> np.ndarray:
    return random.uniform(least, most, size=tuple(shape)).astype(np.float32)


def integers(random: Random, shape: Sequence[int], below: int) -> np.ndarray:
    return random.integers(below, size=tuple(shape)).astype(np.float32)


def axis_of(random: Random, axes: int, least: int = 0) -> tuple[int, int]:
    """An axis from ``least`` on, and the number that says it, from the front or the back."""
    axis = integer(random, least, axes - 1)
    return axis, pick(random, axis, axis - axes)


def some(random: Random, **settings: object) -> str:
    """Each setting or, half the time, nothing: the default."""
    return " ".join(f"{name}: {value}" for name, value in settings.items() if chance(random))


# -- the net around -----------------------------------------------------------------------


def _input(name: str, shape: Sequence[int]) -> str:
    dims = " ".join(f"dim: {size}" for size in shape)
    return (
        f'layer {{ name: "{name}" type: "Input" top: "{name}" '
        f"input_param {{ shape {{ {dims} }} }} }}\n"
    )


def _with_gradient(name: str, bottom: str) -> str:
    """Zeros, to be learnt, are added: so the blob has a gradient, without force_backward.

    There are as many as values; the sum of their gradients could be nothing but rounding.
    """
    return (
        f'layer {{ name: "{name}" type: "Bias" bottom: "{bottom}" top: "{name}" '
        "bias_param { axis: 0 num_axes: -1 } }\n"
    )


_NEURONS = ('type: "Sigmoid"', 'type: "TanH"', 'type: "ReLU"')
_FOLLOWERS = (*_NEURONS, 'type: "Power" power_param { scale: -1.5 }')


def _followers(random: Random, tops: Sequence[str], overwritable: bool) -> tuple[str, list[str]]:
    """Layers after the tops: one in place, or two that both read a top. And the last blobs."""
    text, last = "", []
    for top in tops:
        how = pick(random, "none", "none", "in place" if overwritable else "none", "twice")
        if how == "none":
            last.append(top)
        elif how == "in place":
            kind = pick(random, *_NEURONS)
            text += (
                f'layer {{ name: "{top} f" {kind} bottom: "{top}" top: "{top}" loss_weight: 1 }}\n'
            )
        else:
            for number_, kind in enumerate(random.permutation(_FOLLOWERS)[:2]):
                text += (
                    f'layer {{ name: "{top} f{number_}" {kind} bottom: "{top}" '
                    f'top: "{top}f{number_}" loss_weight: 1 }}\n'
                )
    return text, last


def learnt_inputs(type_: str, number_: int) -> list[NetCase]:
    """Case ``number_`` of a layer type, for each bottom without a gradient: as if it had one."""
    name = f"{type_} {number_}"
    random = _random(name)
    drawn = DRAWERS[type_](random)
    cases = []
    for index in drawn.fixed:
        if not drawn.bottoms[index].shape:
            continue  # which the layer before cannot be given
        others = [fixed for fixed in drawn.fixed if fixed != index]
        # Losses have a weight by themselves; others run backward from what follows them.
        learnt = replace(drawn, fixed=others, smooth=not type_.endswith("Loss"))
        cases.append(_net(f"{name}, bottom {index}", type_, learnt, random))
    return cases


def draw_net(type_: str, number_: int) -> NetCase:
    """Case ``number_`` of a layer type; the same for ever."""
    name = f"{type_} {number_}"
    random = _random(name)
    return _net(name, type_, DRAWERS[type_](random), random)


def _random(name: str) -> Random:
    return np.random.Generator(np.random.PCG64(zlib.crc32(name.encode())))


def _net(name: str, type_: str, drawn: Drawn, random: Random) -> NetCase:
    phase = pick(random, TRAIN, TEST)
    text, bottoms = "", []
    for index, values in enumerate(drawn.bottoms):
        text += _input(f"x{index}", values.shape)
        if index in drawn.fixed:
            bottoms.append(f"x{index}")
        else:
            text += _with_gradient(f"b{index}", f"x{index}")
            bottoms.append(f"b{index}")
    tops = [f"t{index}" for index in range(drawn.tops)]
    in_place = drawn.in_place and chance(random, 0.3)
    if in_place:
        tops[0] = bottoms[0]
    after, last = "", tops
    if drawn.smooth:
        after, last = _followers(random, tops, drawn.overwritable and not in_place)
    weights = ""
    if drawn.smooth and last:
        # a nonzero weight for what ends here makes the net run backward from it
        given = [number(random, 0.5, 2) if top in last else 0 for top in tops]
        weights = " ".join(f"loss_weight: {weight}" for weight in given)
    text += f'layer {{ name: "it" type: "{type_}" {drawn.settings} {weights}\n'
    text += " ".join(f'bottom: "{bottom}"' for bottom in bottoms) + " "
    text += " ".join(f'top: "{top}"' for top in tops) + " }\n" + after
    values = {f"x{index}": values for index, values in enumerate(drawn.bottoms)}
    return NetCase(name, type_, text, phase, drawn.params, drawn.smooth, "it", values)
