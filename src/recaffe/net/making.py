"""What a net tells of its making, line by line as Caffe does: tools and people read it.

A layer within a layer, of which ours has none, is told of where Caffe makes one; the nets within
its recurrent layers are not.

Source: ``Net::Init``, ``AppendTop`` and ``AppendBottom`` in ``net.cpp``,
``LayerRegistry::CreateLayer`` in ``layer_factory.hpp``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from recaffe.layers import Layer
from recaffe.log import tell
from recaffe.proto.schema import NetParameter
from recaffe.proto.shown import Shown

_BYTES = 4


def tell_parameters(param: Any, state: Any) -> None:
    """Tell what the net is made from: the layers of ``param``, in ``state``."""
    shown = NetParameter()
    shown.CopyFrom(param)
    shown.state.CopyFrom(state)
    tell("Initializing net from parameters: \n%s", Shown(shown))


class Making:
    """Tells of the layers of one net, and how much memory the tops take up to each."""

    def __init__(self) -> None:
        self._count = 0

    def begin(self, name: str) -> None:
        """Tell that a layer is made."""
        tell("Creating layer %s", name)

    def connect(self, layer: Layer) -> None:
        """Tell of a layer's bottoms and tops."""
        tell("Creating Layer %s", layer.name)
        bottoms = list(layer.param.bottom)
        for bottom in bottoms:
            tell("%s <- %s", layer.name, bottom)
        for index, top in enumerate(layer.top_names):
            in_place = bottoms[index : index + 1] == [top]
            tell("%s -> %s (in-place)" if in_place else "%s -> %s", layer.name, top)
        if _has_another_within(layer):
            tell("Creating layer %s", layer.name)

    def finish(
        self, layer: Layer, shapes: Sequence[Sequence[int]], loss_weights: Sequence[float]
    ) -> None:
        """Tell of the tops of a layer that is set up."""
        tell("Setting up %s", layer.name)
        for shape, weight in zip(shapes, loss_weights, strict=True):
            count = math.prod(shape)
            tell("Top shape: %s", "".join(f"{length} " for length in shape) + f"({count})")
            if weight:
                tell("    with loss weight %g", weight)
            self._count += count
        tell("Memory required for data: %d", _BYTES * self._count)


def tell_backward(layers: Sequence[Layer], needed: Sequence[bool]) -> None:
    """Tell which layers run backward, but for what ``force_backward`` adds."""
    for layer, needs in zip(reversed(layers), reversed(needed), strict=True):
        verb = "%s needs" if needs else "%s does not need"
        tell(f"{verb} backward computation.", layer.name)


def tell_end(outputs: Sequence[str]) -> None:
    """Tell that the net is made."""
    for name in outputs:
        tell("This network produces output %s", name)
    tell("Network initialization done.")


def _has_another_within(layer: Layer) -> bool:
    if layer.type == "Scale":
        return bool(layer.param.scale_param.bias_term)
    return layer.type in ("SoftmaxWithLoss", "InfogainLoss")
