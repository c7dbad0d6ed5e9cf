"""What is said of experiments: only what the intervals over their seeds show."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from caffetools.claims import describe
from caffetools.cli import ToolError
from caffetools.comparison import Arm, arm_of, compare, estimate, reach
from caffetools.history import History, Row, history_of

TESTS = [0, 5, 10, 20, 40, 80, 160]
RISING = [0.1, 0.6, 0.8, 0.83, 0.86, 0.88, 0.88]
SLOW = [0.1, 0.15, 0.2, 0.5, 0.7, 0.88, 0.88]
LEVEL = [0.1, 0.55, 0.55, 0.55, 0.55, 0.55, 0.55]
SPREAD = np.array([-0.02, -0.01, 0.0, 0.01, 0.02])


def histories(accuracy: list[float], spread: np.ndarray = SPREAD) -> list[History]:
    return [
        history_of([Row(i, 1.0, 0.1, 1.0, a + s) for i, a in zip(TESTS, accuracy, strict=True)])
        for s in spread
    ]


def arm(name: str, accuracy: list[float], spread: np.ndarray = SPREAD) -> Arm:
    return arm_of(name, histories(accuracy, spread))


def test_interval_is_students() -> None:
    values = [0.80, 0.84, 0.79, 0.90, 0.83]
    low, high = stats.t.interval(0.95, 4, np.mean(values), stats.sem(values))
    result = estimate(values)
    assert result.mean == pytest.approx(np.mean(values))
    assert result.half_width == pytest.approx((high - low) / 2)


def test_one_seed_has_no_interval() -> None:
    assert np.isnan(estimate([0.8]).half_width)
    finding = describe(compare(arm("a", RISING, SPREAD[:1]), arm("b", SLOW)))
    assert finding.claim == "Nothing is claimed about a and b."


def test_faster_learning_is_claimed_where_the_intervals_show_it() -> None:
    finding = describe(compare(arm("finetune", RISING), arm("scratch", SLOW)))
    assert finding.claim == "finetune learns faster than scratch."
    half = estimate(list(0.2 + SPREAD)).half_width
    assert finding.evidence == (
        "From iteration 5 to 40 its interval lies wholly above, most at iteration 10 "
        f"(0.800 ± {half:.3f} against 0.200 ± {half:.3f}). "
        "From iteration 80 on, their intervals overlap for good (until the last test, iteration "
        "160): there the runs no longer tell the two apart."
    )


def test_the_order_of_the_arms_does_not_matter() -> None:
    one = describe(compare(arm("finetune", RISING), arm("scratch", SLOW)))
    other = describe(compare(arm("scratch", SLOW), arm("finetune", RISING)))
    assert one == other


def test_nothing_is_claimed_of_arms_that_are_the_same() -> None:
    finding = describe(compare(arm("a", RISING), arm("b", RISING)))
    assert finding.claim == "No difference between a and b is shown."
    assert "faster" not in finding.evidence
    assert "overlap at every test" in finding.evidence


def test_chance_alone_is_seldom_called_faster() -> None:
    """Arms drawn from one distribution; a claim at each parting would come about twice as often."""
    random = np.random.default_rng(1)
    claims = partings = 0
    for _ in range(200):
        one, other = (
            Arm(name, np.arange(1, 13), 0.8 + 0.02 * random.normal(size=(5, 12))) for name in "ab"
        )
        comparison = compare(one, other)
        claims += bool(comparison.claims)
        partings += bool(comparison.leads)
    assert partings > 5
    assert claims <= 2


def test_a_single_test_apart_is_no_claim() -> None:
    finding = describe(compare(arm("a", [*SLOW[:3], 0.7, *SLOW[4:]]), arm("b", SLOW)))
    assert finding.claim == "No difference between a and b is shown."
    assert "only at iteration 20." in finding.evidence
    assert "From iteration 40 on, their intervals overlap for good" in finding.evidence


def test_a_level_never_reached_is_called_higher_and_not_faster() -> None:
    finding = describe(compare(arm("finetune", RISING), arm("frozen", LEVEL)))
    assert finding.claim == "finetune scores higher than frozen."
    assert finding.evidence.endswith(
        "At the last test, iteration 160, their intervals still lie apart."
    )


def test_arms_that_cross_are_told_in_order() -> None:
    finding = describe(compare(arm("frozen", LEVEL), arm("scratch", SLOW)))
    assert finding.claim == "frozen learns faster than scratch."
    assert "From iteration 5 to 20" in finding.evidence
    assert "scratch is ahead from iteration 40 to 160." in finding.evidence


def test_a_head_start_is_not_learning() -> None:
    ahead = compare(arm("a", [0.5, *SLOW[1:]]), arm("b", SLOW))
    assert ahead.leads == []
    assert ahead.meeting == 5


def test_arms_are_compared_where_both_were_tested() -> None:
    other = history_of([Row(i, 1.0, 0.1, 1.0, 0.5) for i in (0, 7, 40, 160)])
    comparison = compare(arm("a", RISING), arm_of("b", [other, other]))
    np.testing.assert_array_equal(comparison.first.iterations, [0, 40, 160])
    np.testing.assert_allclose(comparison.first.mean, [0.1, 0.86, 0.88])
    never = history_of([Row(3, 1.0, 0.1, 1.0, 0.5)])
    with pytest.raises(ToolError, match="share no tested iteration"):
        compare(arm("a", RISING), arm_of("b", [never]))
    with pytest.raises(ToolError, match="'b': its 2 histories share no tested iteration"):
        arm_of("b", [other, never])


def test_a_mean_of_iterations_needs_every_seed() -> None:
    fast, slow = histories(RISING), histories(SLOW)
    everyone = reach(fast[:2] + slow[2:], 0.75)
    assert everyone.iterations is not None
    assert everyone.iterations.mean == pytest.approx((10 + 10 + 80 + 80 + 80) / 5)
    some = reach(slow, 0.89)
    assert (some.reached, some.seeds, some.iterations) == (2, 5, None)
