"""Which layers a net has in a state: phase, level and stages.

Source: ``Net::FilterNet`` and ``Net::StateMeetsRule`` in ``net.cpp``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from recaffe.errors import NetError
from recaffe.log import tell
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
        return any(_meets(state, rule, layer.name) for rule in layer.include)
    return not any(_meets(state, rule, layer.name) for rule in layer.exclude)


def _meets(state: Any, rule: Any, layer_name: str) -> bool:
    """Whether a rule holds; if not, Caffe tells why."""
    broken = next(_broken(state, rule), None)
    if broken:
        message, *values = broken
        tell(f"{message} specified by a rule in layer %s", *values, layer_name)
    return not broken


def _broken(state: Any, rule: Any) -> Iterator[tuple[Any, ...]]:
    """What keeps ``rule`` from holding: a message and its values."""
    if rule.HasField("phase") and rule.phase != state.phase:
        yield "The NetState phase (%d) differed from the phase (%d)", state.phase, rule.phase
    level = state.level
    if rule.HasField("min_level") and level < rule.min_level:
        # Caffe says "above" of both.
        yield "The NetState level (%d) is above the min_level (%d)", level, rule.min_level
    if rule.HasField("max_level") and level > rule.max_level:
        yield "The NetState level (%d) is above the max_level (%d)", level, rule.max_level
    for stage in rule.stage:
        if stage not in state.stage:
            yield "The NetState did not contain stage '%s'", stage
    for stage in rule.not_stage:
        if stage in state.stage:
            yield "The NetState contained a not_stage '%s'", stage
