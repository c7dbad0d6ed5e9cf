"""Where gradients are needed.

Source: ``Net::Init`` and ``AppendBottom`` in ``net.cpp``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from recaffe.errors import LayerError, NetError
from recaffe.layers import Layer
from recaffe.net.making import tell_backward


@dataclass
class GradientPlan:
    """For each layer: whether it runs backward, and which bottoms and parameters get a gradient.

    And what is wrong with a backward through it: empty for most.
    """

    layer: list[bool]
    bottoms: list[list[bool]]
    params: list[list[bool]]
    refusals: list[str]

    def check(self, index: int) -> None:
        """Raise a LayerError if layer ``index`` cannot run backward as it would have to."""
        if self.refusals[index]:
            raise LayerError(self.refusals[index])


def plan_gradients(
    layers: Sequence[Layer],
    lr_mults: Sequence[Sequence[float]],
    loss_weights: Sequence[Sequence[float]],
    force_backward: bool,
) -> GradientPlan:
    """Decide it from learning rates, ``propagate_down``, losses and ``force_backward``.

    Raises:
        NetError: ``propagate_down`` given for some bottoms of a layer but not for all.
    """
    params = [[mult != 0 for mult in mults] for mults in lr_mults]
    bottoms: list[list[bool]] = []
    needed: list[bool] = []
    wanted: dict[str, bool] = {}
    for index, layer in enumerate(layers):
        told = layer.param.propagate_down
        if told and len(told) != len(layer.param.bottom):
            raise NetError(
                f"layer '{layer.name}': propagate_down is given {len(told)} time(s) for "
                f"{len(layer.param.bottom)} bottoms; give none or one a bottom"
            )
        upstream = [wanted[blob] for blob in layer.param.bottom]
        bottoms.append([bool(told[i]) if told else need for i, need in enumerate(upstream)])
        needed.append(any(upstream) or any(params[index]))
        wanted.update((blob, needed[-1]) for blob in layer.param.top)
    _drop_what_no_loss_reaches(layers, loss_weights, needed, bottoms)
    refusals = [_refusal(layer, wanted) for layer, wanted in zip(layers, bottoms, strict=True)]
    tell_backward(layers, needed)
    if force_backward:
        needed = [True] * len(layers)
        bottoms = [[True] * len(layer.param.bottom) for layer in layers]
        params = [[True] * len(mults) for mults in lr_mults]
    for index, layer in enumerate(layers):
        bottoms[index] = [need and layer.propagates_to(i) for i, need in enumerate(bottoms[index])]
    return GradientPlan(needed, bottoms, params, refusals)


def _refusal(layer: Layer, wanted: Sequence[bool]) -> str:
    for index, want in enumerate(wanted):
        if want and layer.refuses_gradient_of(index):
            return (
                f"layer '{layer.name}' ({layer.type}): bottom {index}, "
                f"'{layer.param.bottom[index]}', has no gradient here, but parameters before it "
                "are to be learnt from one; give those lr_mult: 0, or this layer "
                "propagate_down: false for that bottom"
            )
    return ""


def _drop_what_no_loss_reaches(
    layers: Sequence[Layer],
    loss_weights: Sequence[Sequence[float]],
    needed: list[bool],
    bottoms: list[list[bool]],
) -> None:
    under_loss: set[str] = set()
    skipped: set[str] = set()
    for index in reversed(range(len(layers))):
        layer = layers[index]
        tops = layer.top_names
        contributes = any(loss_weights[index]) or not under_loss.isdisjoint(tops)
        if skipped.issuperset(tops):
            needed[index] = False
            bottoms[index] = [False] * len(layer.param.bottom)
        if contributes:
            under_loss.update(layer.param.bottom)
        else:
            needed[index] = False
            bottoms[index] = [False] * len(layer.param.bottom)
        skipped.update(
            blob for blob, need in zip(layer.param.bottom, bottoms[index], strict=True) if not need
        )
