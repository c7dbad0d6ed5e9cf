"""Nets and solvers that BVLC's build was asked about once, run here."""

from __future__ import annotations

import random

import numpy as np
import pytest
from differential import goldens
from differential.compare import ask_ours, differences
from differential.draw import DRAWERS
from differential.draw_solvers import TYPES

PROVENANCE, GOLDENS = goldens.read()


@pytest.mark.parametrize(
    ("case", "theirs"), GOLDENS, ids=[f"{case.type}-{case.name}" for case, _ in GOLDENS]
)
def test_numbers_are_those_that_bvlc_gave(case, theirs):
    assert differences(ask_ours(case), theirs) == []


def test_every_type_is_among_them():
    assert {case.type for case, _ in GOLDENS} == {*DRAWERS, *TYPES, "Net"}
    assert "python3-caffe 1.0.0+git20180821" in PROVENANCE["packages"]


@pytest.mark.oracle
def test_bvlc_still_gives_them(bvlc):
    """What is kept is what the build says, and not what we would like."""
    chosen = random.Random(0).sample(GOLDENS, 40)
    chosen.sort(key=lambda pair: pair[0].name)
    nets = [pair for pair in chosen if hasattr(pair[0], "phase")]
    solvers = [pair for pair in chosen if not hasattr(pair[0], "phase")]
    answers = goldens.ask(bvlc, [case for case, _ in [*nets, *solvers]])
    for (case, kept), answer in zip([*nets, *solvers], answers, strict=True):
        assert kept.keys() == answer.keys(), case.name
        for name, array in kept.items():
            np.testing.assert_allclose(answer[name], array, rtol=1e-5, atol=1e-6)
