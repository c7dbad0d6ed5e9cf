"""Which layers a net has in a state: phase, level and stages.

Source: ``Net::FilterNet`` and ``Net::StateMeetsRule`` in ``net.cpp``.
"""

from __future__ import annotations

from typing import Any

from recaffe.errors import NetError
from recaffe.proto.schema import NetParameter


def filter_net(net: Any, state: Any) -> Any:
    """A copy of ``net`` with only the layers that ``state`` includes.

    Raises:
        NetError: a layer with both include and exclude rules.
    """
    filtered = NetParameter()
    filtered.CopyFrom(net)
    filtered.ClearField("layer")
    filtered.layer.extend(layer for layer in net.layer if _is_included(layer, state))
    return filtered


def _is_included(layer: Any, state: Any) -> bool:
    if layer.include and layer.exclude:
        raise NetError(f"layer '{layer.name}': give include rules or exclude rules, not both")
    if layer.include:
        return any(_meets(state, rule) for rule in layer.include)
    return not any(_meets(state, rule) for rule in layer.exclude)


def _meets(state: Any, rule: Any) -> bool:
    stages = set(state.stage)
    return (
        (not rule.HasField("phase") or rule.phase == state.phase)
        and (not rule.HasField("min_level") or state.level >= rule.min_level)
        and (not rule.HasField("max_level") or state.level <= rule.max_level)
        and stages.issuperset(rule.stage)
        and stages.isdisjoint(rule.not_stage)
    )
