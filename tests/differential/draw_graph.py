"""Whole graphs: branches, joins, sharing, losses in the middle, gradients wanted or not.

What single layers compute is drawn elsewhere; here it is what the net makes of them: its
splits, which layers run backward, whose gradients add up.
"""

from __future__ import annotations

import zlib

import numpy as np

from differential.draw import TRAIN, NetCase, Random, chance, integer, normal, number, pick

ITEMS, WIDTH = 4, 3


class _Graph:
    """A net that is being drawn: its text, and the blobs that later layers may read."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.text = ""
        self.widths: dict[str, int] = {}
        self.consumed: set[str] = set()
        self.read_backward: set[str] = set()  # by the layer that made it
        self.layers = 0
        self.has_loss = False

    def blob(self) -> str:
        """A blob, rather one of the newest."""
        names = list(self.widths)
        return names[-1 - min(int(self.random.geometric(0.35)) - 1, len(names) - 1)]

    def add(self, type_: str, bottoms: list[str], tops: list[str], settings: str = "") -> None:
        words = [f'name: "{type_}{self.layers}" type: "{type_}"']
        words += [f'bottom: "{bottom}"' for bottom in bottoms] + [f'top: "{top}"' for top in tops]
        self.text += f"layer {{ {' '.join(words)} {settings} }}\n"
        self.consumed.update(bottoms)
        if "loss_weight" in settings:
            self.consumed.update(tops)  # a loss is read as well: Caffe splits it
        self.layers += 1

    def new(self) -> str:
        return f"v{self.layers}"

    def maybe_told(self, bottoms: int) -> str:
        """Sometimes propagate_down, for all bottoms or none."""
        if not chance(self.random, 0.15):
            return ""
        return " " + " ".join(f"propagate_down: {pick(self.random, 'true', 'false')}"
                        for _ in range(bottoms))  # fmt: skip

    def maybe_loss(self, tops: int = 1) -> str:
        """Sometimes a loss weight on tops that are no losses by nature."""
        if not chance(self.random, 0.15):
            return ""
        self.has_loss = True
        return " " + " ".join(f"loss_weight: {pick(self.random, 0, number(self.random, -1, 1))}"
                        for _ in range(tops))  # fmt: skip


def _inner_product(graph: _Graph) -> None:
    random, bottom = graph.random, graph.blob()
    width = graph.widths[bottom]
    specs = []
    for kind in ("w", "b"):
        # shared by layers of the same shape alone
        name = f'name: "{kind}{width}_{integer(random, 0, 1)}"' if chance(random, 0.3) else ""
        factor = "" if name else f"lr_mult: {pick(random, 0, 1, 1)}"
        specs.append(f"param {{ {name} {factor} }}")
    top = graph.new()
    settings = f"{' '.join(specs)} inner_product_param {{ num_output: {WIDTH} }} "
    graph.add("InnerProduct", [bottom], [top],
              settings + graph.maybe_told(1) + graph.maybe_loss())  # fmt: skip
    graph.widths[top] = WIDTH


def _neuron(graph: _Graph) -> None:
    bottom = graph.blob()
    type_ = pick(graph.random, "Sigmoid", "TanH", "ReLU")
    # BVLC has no split between an in-place layer and another one that reads its bottom.
    in_place = bottom not in graph.consumed | graph.read_backward and not bottom.startswith("x")
    top = bottom if in_place and chance(graph.random) else graph.new()
    told = "" if top == bottom else graph.maybe_told(1) + graph.maybe_loss()
    graph.add(type_, [bottom], [top], told)
    if top == bottom:
        graph.consumed.discard(bottom)
    graph.read_backward.add(top)
    graph.widths[top] = graph.widths[bottom]


def _eltwise(graph: _Graph) -> None:
    first = graph.blob()
    same = [name for name, width in graph.widths.items() if width == graph.widths[first]]
    bottoms = [first, *(pick(graph.random, *same) for _ in range(integer(graph.random, 1, 2)))]
    top = graph.new()
    operation = pick(graph.random, "SUM", "PROD", "MAX")
    settings = f"eltwise_param {{ operation: {operation} }}"
    graph.add("Eltwise", bottoms, [top],
              f"{settings} {graph.maybe_told(len(bottoms))} {graph.maybe_loss()}")  # fmt: skip
    graph.widths[top] = graph.widths[first]


def _concat(graph: _Graph) -> None:
    bottoms = [graph.blob() for _ in range(2)]
    top = graph.new()
    graph.add("Concat", bottoms, [top], graph.maybe_told(2) + graph.maybe_loss())
    graph.widths[top] = sum(graph.widths[bottom] for bottom in bottoms)


def _slice(graph: _Graph) -> None:
    wide = [name for name, width in graph.widths.items() if width > 1]
    bottom = pick(graph.random, *wide)
    cut = integer(graph.random, 1, graph.widths[bottom] - 1)
    tops = [f"{graph.new()}a", f"{graph.new()}b"]
    graph.add("Slice", [bottom], tops,
              f"slice_param {{ slice_point: {cut} }} {graph.maybe_loss(2)}")  # fmt: skip
    graph.widths[tops[0]], graph.widths[tops[1]] = cut, graph.widths[bottom] - cut


def _loss(graph: _Graph) -> None:
    bottom, top = graph.blob(), graph.new()
    weight = f"loss_weight: {number(graph.random, 0.2, 2)}" if chance(graph.random) else ""
    graph.has_loss = True
    if chance(graph.random):
        graph.add("SoftmaxWithLoss", [bottom, "label"], [top], weight)
        return
    same = [name for name, width in graph.widths.items() if width == graph.widths[bottom]]
    graph.add("EuclideanLoss", [bottom, pick(graph.random, *same)], [top], weight)


def _silence(graph: _Graph) -> None:
    graph.add("Silence", [graph.blob()], [])


_STEPS = (_inner_product, _inner_product, _inner_product, _neuron, _neuron, _eltwise, _concat,
          _slice, _loss, _silence)  # fmt: skip


def draw_graph(number_: int) -> NetCase:
    """Graph ``number_``; the same for ever."""
    name = f"Net {number_}"
    random = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode())))
    graph = _Graph(random)
    values = {
        "x0": normal(random, (ITEMS, WIDTH)),
        "x1": normal(random, (ITEMS, WIDTH)),
        # each class is one that the narrowest blob has
        "label": np.zeros(ITEMS, np.float32),
    }
    for blob, array in values.items():
        dims = " ".join(f"dim: {size}" for size in array.shape)
        graph.add("Input", [], [blob], f"input_param {{ shape {{ {dims} }} }}")
    graph.widths = {"x0": WIDTH, "x1": WIDTH}
    _inner_product(graph)
    for _ in range(integer(random, 3, 12)):
        pick(random, *_STEPS)(graph)
    if not graph.has_loss:
        _loss(graph)
    force = "force_backward: true\n" if chance(random, 0.2) else ""
    return NetCase(name, "Net", force + graph.text, TRAIN, "normal", True, "", values)
