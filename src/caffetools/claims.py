"""Puts a comparison into words that say no more than its intervals show."""

from __future__ import annotations

import math

import numpy as np

from caffetools.comparison import CONFIRMING_TESTS, Arm, Comparison, Estimate, Lead


def number(estimate: Estimate, digits: int = 3) -> str:
    """``0.812 ± 0.034``, or the mean alone where one seed gives no interval."""
    mean = f"{estimate.mean:.{digits}f}"
    if math.isnan(estimate.half_width):
        return mean
    return f"{mean} ± {estimate.half_width:.{digits}f}"


def describe(comparison: Comparison) -> list[str]:
    """Sentences on who learns faster, if anyone, and from which iteration the two meet."""
    names = f"{comparison.first.name} and {comparison.second.name}"
    if not comparison.has_intervals:
        return [f"An interval needs two seeds: nothing is claimed about {names}."]
    if not comparison.claims:
        return [_no_claim(comparison, names), *_ending(comparison)]
    leads = [_opening(comparison, comparison.claims[0])]
    leads += [_sequel(lead) for lead in comparison.claims[1:]]
    return leads + _ending(comparison)


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


def _opening(comparison: Comparison, lead: Lead) -> str:
    ahead, behind = _sides(comparison, lead)
    inside = (ahead.iterations >= lead.first) & (ahead.iterations <= lead.last)
    widest = int(np.argmax(np.where(inside, ahead.mean - behind.mean, -np.inf)))
    verb = "learns faster" if learns_faster(comparison, lead) else "scores higher"
    return (
        f"{ahead.name} {verb} than {behind.name}: {_span(lead)} its interval lies wholly above, "
        f"most at iteration {ahead.iterations[widest]} "
        f"({_at(ahead, widest)} against {_at(behind, widest)})."
    )


def _sequel(lead: Lead) -> str:
    return f"{lead.leader} is ahead {_span(lead)}."


def _no_claim(comparison: Comparison, names: str) -> str:
    if not comparison.leads:
        return f"No difference between {names} is shown: their intervals overlap throughout."
    apart = ", ".join(str(lead.first) for lead in comparison.leads)
    return (
        f"No difference between {names} is shown: their intervals part nowhere for "
        f"{CONFIRMING_TESTS} tests in a row (only at iteration {apart})."
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
