"""What the list of known differences lets pass: nothing of a case that is not one of them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from differential import draw_neurons, draw_structure, draw_windows  # noqa: F401
from differential.compare import ask_ours, differences
from differential.draw import DRAWERS, NetCase, draw_net
from differential.known import reason

DRAWN = 6
each_type = pytest.mark.parametrize("type_", sorted(DRAWERS))
IN_PLACE = "this layer cannot work in place; give the top a name of its own"
REFUSALS = [
    f"top 'b0' is a bottom as well: {IN_PLACE}",
    "dilation must be at least 1, found [0]",
    "dropout_ratio must be at least 0 and below 1, found 2",
    "index 3 found, but input_dim is 3, so indices run from 0 to 2",
    "2 items need 2 labels, found 3",
    "label 3 found, but there are 3 classes, 0 to 2",
]


def ruined(found: dict, kind: str) -> dict:
    """The same with all of a kind doubled: the gradients, say."""
    return {name: values * (2 if kind in name else 1) for name, values in found.items()}


@each_type
@pytest.mark.parametrize("kind", [" diff ", "blob t"])
def test_doubled_numbers_of_a_drawn_net_are_reported(type_, kind):
    for case in (draw_net(type_, number) for number in range(DRAWN)):
        right = ask_ours(case)
        told = differences(ruined(right, kind), right)
        assert not told or reason(case, told) is None, case.name


@pytest.mark.parametrize("type_", ["BNLL", "ELU", "ReLU", "Log", "Concat", "Slice"])
def test_drawn_nets_have_gradients_that_can_be_ruined(type_):
    cases = [draw_net(type_, number) for number in range(DRAWN)]
    assert all(differences(ruined(right, " diff "), right) for right in map(ask_ours, cases))


@each_type
@pytest.mark.parametrize("words", REFUSALS)
def test_a_drawn_net_that_is_refused_is_reported(type_, words):
    for case in (draw_net(type_, number) for number in range(DRAWN)):
        assert reason(case, [f"only ours refuses: layer 'it' ({type_}): {words}"]) is None


def net_of(type_: str, settings: str, top: str) -> NetCase:
    text = f'layer {{ name: "it" type: "{type_}" bottom: "b0" top: "{top}" {settings} }}'
    return replace(draw_net(type_, 0), net=text)


WRONG = ["param diff b0 0[0, 1]: np.float32(2.0), expected np.float32(1.0), allowed 0.0002"]
IN_PLACE_GRADIENTS = {
    # a layer whose gradient BVLC gets wrong in place, and settings with which it does not
    "BNLL": ("", None),
    "ReLU": ("relu_param { negative_slope: -0.5 }", "relu_param { negative_slope: 0.5 }"),
    "ELU": ("elu_param { alpha: -1 }", "elu_param { alpha: 1 }"),
}


@pytest.mark.parametrize("type_", IN_PLACE_GRADIENTS)
def test_a_gradient_is_known_to_differ_in_place_alone_and_where_bvlc_errs(type_):
    wrong, right = IN_PLACE_GRADIENTS[type_]
    assert "in place" in str(reason(net_of(type_, wrong, "b0"), WRONG))
    assert reason(net_of(type_, wrong, "t0"), WRONG) is None
    assert right is None or reason(net_of(type_, right, "b0"), WRONG) is None


def test_what_else_differs_in_such_a_net_is_reported():
    case = net_of("BNLL", "", "b0")
    top = "blob b0[0, 1]: np.float32(2.0), expected np.float32(1.0), allowed 0.0002"
    assert reason(case, [top]) is None
    assert reason(case, [*WRONG, top]) is None


def test_a_layer_that_bvlc_runs_rightly_in_place_may_not_be_refused():
    told = [f"only ours refuses: layer 'it' (ReLU): top 'b0' is a bottom as well: {IN_PLACE}"]
    assert reason(net_of("ReLU", "", "b0"), told) is None
