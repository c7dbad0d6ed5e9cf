"""Nets and solvers drawn from a seed, here and in BVLC's build."""

from __future__ import annotations

import pytest
from differential import draw_neurons, draw_structure, draw_windows  # noqa: F401
from differential.compare import ask_bvlc, ask_ours, differences
from differential.draw import DRAWERS, draw_net, learnt_inputs
from differential.draw_graph import draw_graph
from differential.draw_solvers import TYPES, draw_solvers
from differential.known import KNOWN, known_of, reason
from differential.mutate import mutate_net

pytestmark = [pytest.mark.oracle, pytest.mark.slow]

CASES_A_TYPE = 30
MUTATED_CASES_A_TYPE = 40
GRAPH_CASES = 200
SOLVER_CASES = 300

# Types whose numbers come out of files, or out of a user's hands or code.
NOT_DRAWN = {
    "Data", "HDF5Data", "HDF5Output", "ImageData", "Input", "MemoryData", "Python", "WindowData",
}  # fmt: skip

each_type = pytest.mark.parametrize("type_", sorted(DRAWERS))


def answered(bvlc, cases) -> dict[str, list]:
    """Cases and what BVLC's build gives for each, by type."""
    by_type: dict[str, list] = {}
    for case, theirs in zip(cases, ask_bvlc(bvlc, cases), strict=True):
        by_type.setdefault(case.type, []).append((case, theirs))
    return by_type


def assert_agreement(pairs) -> None:
    told = []
    for case, theirs in pairs:
        found = differences(ask_ours(case), theirs)
        if found and not reason(case, found):
            told.append("\n".join([case.name, *case.texts(), *found]))
    assert not told, f"{len(told)} of {len(pairs)} differ\n" + "\n\n".join(told)


def assert_accepted(pairs) -> None:
    refused = [(case, words) for case, words in pairs if isinstance(words, str)]
    assert not refused, f"BVLC refuses {refused[0][0].name}: {refused[0][1]}"


@pytest.fixture(scope="module")
def drawn(bvlc):
    cases = [draw_net(type_, n) for type_ in sorted(DRAWERS) for n in range(CASES_A_TYPE)]
    assert len(cases) >= 1500
    return answered(bvlc, cases)


def test_every_type_of_bvlc_is_drawn_or_its_numbers_come_from_elsewhere(bvlc):
    script = "import caffe, json; print(json.dumps(list(caffe.layer_type_list())))"
    assert set(bvlc.python(script).json()) == {*DRAWERS, *NOT_DRAWN}


@each_type
def test_drawn_nets_give_bvlcs_numbers(drawn, type_):
    assert_accepted(drawn[type_])
    assert_agreement(drawn[type_])


@pytest.fixture(scope="module")
def mutated(bvlc):
    numbers = range(MUTATED_CASES_A_TYPE)
    return answered(bvlc, [mutate_net(type_, n) for type_ in sorted(DRAWERS) for n in numbers])


@each_type
def test_what_bvlc_refuses_is_refused_and_the_rest_gives_its_numbers(mutated, type_):
    assert_agreement(mutated[type_])


def test_a_gradient_that_bvlc_aborts_on_is_refused(bvlc):
    """Labels, indices and the like, made by a layer that is to be learnt."""
    cases = [
        case for type_ in sorted(DRAWERS) for n in range(3) for case in learnt_inputs(type_, n)
    ]
    assert len(cases) > 50
    pairs = [(case, theirs) for found in answered(bvlc, cases).values() for case, theirs in found]
    refused = {case.type for case, theirs in pairs if isinstance(theirs, str)}
    assert {"SoftmaxWithLoss", "LSTM", "Embed", "ArgMax", "Filter"} <= refused
    assert_agreement(pairs)


def test_every_known_difference_is_met(mutated):
    """One that is not is stale, or hides what it was not meant for."""
    met = {
        known
        for pairs in mutated.values()
        for case, theirs in pairs
        for known in known_of(case, differences(ask_ours(case), theirs))
    }
    assert [known for known in KNOWN if known not in met] == []


def test_drawn_graphs_give_bvlcs_numbers(bvlc):
    graphs = answered(bvlc, [draw_graph(n) for n in range(GRAPH_CASES)])["Net"]
    assert_accepted(graphs)
    assert_agreement(graphs)


@pytest.fixture(scope="module")
def solved(bvlc):
    return answered(bvlc, draw_solvers(SOLVER_CASES))


@pytest.mark.parametrize("type_", TYPES)
def test_drawn_solvers_give_bvlcs_numbers(solved, type_):
    assert_accepted(solved[type_])
    assert_agreement(solved[type_])
