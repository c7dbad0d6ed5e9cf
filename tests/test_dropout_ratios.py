"""Other ratios for the Dropout layers of a net."""

from __future__ import annotations

import re

import pytest
from patch_nets import NET, layer_named, net_of

from caffetools.cli import ToolError
from caffetools.dropout import set_ratios


def test_ratios_are_set_by_name_or_pattern_and_none_is_added() -> None:
    more = NET + 'layer { name: "drop2" type: "Dropout" bottom: "fc" top: "fc" }'
    patched = set_ratios(net_of(more), {"drop*": 0.75, "drop": 0})
    assert layer_named(patched, "drop").dropout_param.dropout_ratio == 0
    assert layer_named(patched, "drop2").dropout_param.dropout_ratio == 0.75
    assert len(patched.layer) == len(net_of(more).layer)
    assert set_ratios(net_of(), {}) == net_of()


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [("fc", "is of type InnerProduct"), ("drp", "matches no layer of type Dropout")],
)
def test_what_drops_nothing_is_refused_with_what_does(pattern: str, reason: str) -> None:
    message = f"dropout: '{pattern}' {reason}. What it can be: drop"
    with pytest.raises(ToolError, match=re.escape(message)):
        set_ratios(net_of(), {pattern: 0.5})
