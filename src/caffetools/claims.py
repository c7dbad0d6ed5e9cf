"""Puts a comparison into words that say no more than its intervals show."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from caffetools.comparison import CONFIRMING_TESTS, Arm, Comparison, Estimate, Lead


def number(estimate: Estimate, digits: int = 3) -> str:
    """``0.812 ± 0.034``, or the mean alone where one seed gives no interval."""
    mean = f"{estimate.mean:.{digits}f}"
    if math.isnan(estimate.half_width):
        return mean
    return f"{mean} ± {estimate.half_width:.{digits}f}"


@dataclass(frozen=True)
class Finding:
    """What a comparison shows: the claim in a sentence, and the sentences that bear it out."""

    claim: str
    evidence: str


def describe(comparison: Comparison) -> Finding:
    """Who learns faster, if anyone, and from which iteration the two meet."""
    names = f"{comparison.first.name} and {comparison.second.name}"
    if not comparison.has_intervals:
        return Finding(f"Nothing is claimed about {names}.", "An interval needs two seeds of each.")
    if not comparison.claims:
        evidence = [_no_claim(comparison), *_ending(comparison)]
        return Finding(f"No difference between {names} is shown.", " ".join(evidence))
    first, *later = comparison.claims
    evidence = [_spread(comparison, first), *map(_sequel, later), *_ending(comparison)]
    return Finding(_claim(comparison, first), " ".join(evidence))


def learns_faster(comparison: Comparison, lead: Lead) -> bool:
    """Whether the arm behind got later to where the leader was when the lead began.

    If it never did, its level differs and not (only) its speed.
    """
    ahead, behind = _sides(comparison, lead)
    start = int(np.flatnonzero(ahead.iterations == lead.first)[0])
    return bool(np.any(behind.mean[start:] >= ahead.mean[start]))


def _sides(comparison: Comparison, lead: Lead) -> tuple[Arm, Arm]:
    first, second = comparison.first, comparison.second
    return (first, second) if lead.leader == first.name else (second, first)


def _span(lead: Lead) -> str:
    return f"from iteration {lead.first} to {lead.last}"


def _at(arm: Arm, index: int) -> str:
    return number(Estimate(float(arm.mean[index]), float(arm.half_width[index]), arm.seeds))


def _claim(comparison: Comparison, lead: Lead) -> str:
    ahead, behind = _sides(comparison, lead)
    verb = "learns faster" if learns_faster(comparison, lead) else "scores higher"
    return f"{ahead.name} {verb} than {behind.name}."


def _spread(comparison: Comparison, lead: Lead) -> str:
    ahead, behind = _sides(comparison, lead)
    inside = (ahead.iterations >= lead.first) & (ahead.iterations <= lead.last)
    widest = int(np.argmax(np.where(inside, ahead.mean - behind.mean, -np.inf)))
    return (
        f"{_span(lead).capitalize()} its interval lies wholly above, most at iteration "
        f"{ahead.iterations[widest]} ({_at(ahead, widest)} against {_at(behind, widest)})."
    )


def _sequel(lead: Lead) -> str:
    return f"{lead.leader} is ahead {_span(lead)}."


def _no_claim(comparison: Comparison) -> str:
    if not comparison.leads:
        return "Their intervals overlap at every test."
    apart = ", ".join(str(lead.first) for lead in comparison.leads)
    return (
        f"Their intervals part nowhere for {CONFIRMING_TESTS} tests in a row, only at "
        f"iteration {apart}."
    )


def _ending(comparison: Comparison) -> list[str]:
    last = comparison.first.iterations[-1]
    if comparison.meeting is None:
        return [f"At the last test, iteration {last}, their intervals still lie apart."]
    if not comparison.leads:
        return []
    return [
        f"From iteration {comparison.meeting} on, their intervals overlap for good (until the "
        f"last test, iteration {last}): there the runs no longer tell the two apart."
    ]
