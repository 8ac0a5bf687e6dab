"""Confidence sequences: they hold at all times, for any bounded values, and get narrow."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lorabank.errors import InvalidInputError
from lorabank.statistics import confidence_sequence
from lorabank.statistics.betting import FRACTIONS

Values = NDArray[np.float64]
ALPHA, LIMIT = 0.05, 0.25
values_within = st.lists(st.floats(-LIMIT, LIMIT), max_size=40)
laws = settings(max_examples=60, deadline=None, derandomize=True)
# None helps on average. The second is the trap for a t interval: it looks safe until it ruins.
NULLS: dict[str, Callable[[np.random.Generator, int], Values]] = {
    "normal": lambda rng, n: np.clip(rng.normal(0.0, 0.05, n), -LIMIT, LIMIT),
    "rarely ruinous": lambda rng, n: np.where(rng.random(n) < 0.04, -0.24, 0.01),
    "coin": lambda rng, n: rng.choice([-LIMIT, LIMIT], n),
    "harmful": lambda rng, n: rng.uniform(-0.1, 0.08, n),
}


@pytest.mark.parametrize("null", NULLS)
def test_looking_after_every_value_errs_no_more_often_than_it_says(null: str) -> None:
    rng, runs = np.random.default_rng(1), 400
    ever = [
        confidence_sequence(NULLS[null](rng, 1000), ALPHA, LIMIT).crossed is not None
        for _ in range(runs)
    ]
    assert np.mean(ever) <= ALPHA


def test_a_t_interval_would_not_hold_where_ruin_is_rare() -> None:
    """Why the bounds are used: 20 users without ruin look like a certain gain."""
    rng, wrong = np.random.default_rng(1), 0
    for _ in range(400):
        values = NULLS["rarely ruinous"](rng, 1000) + 1e-4 * rng.normal(size=1000)
        counts = np.arange(1, 1001)
        means = np.cumsum(values) / counts
        variances = np.cumsum(values**2) / counts - means**2
        t = means[4:] / np.sqrt(variances[4:] / (counts[4:] - 1))
        wrong += bool((t > 6.0).any())
    assert wrong / 400 > 0.5


def refuted_by_halving(values: Values, threshold: float) -> float:
    """The largest mean that is refuted, in 14 halvings of [0, 1]: slow, and plainly right."""
    shares, low, high = 0.5 + 0.5 * values / LIMIT, 0.0, 1.0
    for _ in range(14):
        mean = (low + high) / 2
        wealth = np.log1p(np.multiply.outer(FRACTIONS, shares / mean - 1.0)).sum(axis=1)
        mixed = wealth.max() + np.log(np.exp(wealth - wealth.max()).mean())
        low, high = (mean, high) if mixed >= threshold else (low, mean)
    return LIMIT * (2.0 * low - 1.0)


@pytest.mark.parametrize("spread", [1e-4, 0.01, 0.05, 1.0])
def test_bounds_are_those_that_halving_finds(spread: float) -> None:
    rng = np.random.default_rng(3)
    for _ in range(60):
        count, centre = int(rng.integers(1, 500)), rng.normal(0.0, 0.1)
        values = np.clip(rng.normal(centre, spread, count), -LIMIT, LIMIT)
        alpha = float(rng.choice([0.05, 0.003]))
        found = confidence_sequence(values, alpha, LIMIT)
        assert found.lower == refuted_by_halving(values, -math.log(alpha))
        assert found.upper == -refuted_by_halving(-values, -math.log(alpha))


@laws
@given(values_within)
def test_bounds_are_ordered_within_the_limit_and_hold_the_mean(values: list[float]) -> None:
    found = confidence_sequence(values, ALPHA, LIMIT)
    assert -LIMIT <= found.lower <= found.upper <= LIMIT
    if values:
        assert found.lower - 1e-6 <= np.mean(values) <= found.upper + 1e-6
    mirrored = confidence_sequence([-value for value in values], ALPHA, LIMIT)
    assert mirrored.lower == pytest.approx(-found.upper, abs=1e-6)


@laws
@given(values_within, st.randoms(use_true_random=False))
def test_without_decay_the_order_does_not_matter(
    values: list[float], shuffler: random.Random
) -> None:
    one = confidence_sequence(values, ALPHA, LIMIT)
    shuffler.shuffle(values)
    other = confidence_sequence(values, ALPHA, LIMIT)
    assert (one.lower, one.upper) == pytest.approx((other.lower, other.upper), abs=1e-6)


def test_nothing_is_known_of_nothing() -> None:
    found = confidence_sequence([], ALPHA, LIMIT)
    assert (found.lower, found.upper) == pytest.approx((-LIMIT, LIMIT), abs=1e-5)
    assert (found.log_wealth, found.crossed) == (0.0, None)


def test_bounds_close_in_on_the_mean() -> None:
    rng = np.random.default_rng(2)
    widths = []
    for count in (50, 500, 5000):
        values = np.clip(rng.normal(0.04, 0.05, count), -LIMIT, LIMIT)
        found = confidence_sequence(values, ALPHA, LIMIT)
        assert found.lower < 0.04 < found.upper
        widths.append(found.upper - found.lower)
    assert widths[0] > 2 * widths[1] > 4 * widths[2]


@pytest.mark.parametrize(("effect", "users"), [(0.1, 27), (0.05, 54), (0.02, 160)])
def test_how_many_users_an_effect_takes(effect: float, users: int) -> None:
    """In half of the runs, at eight arms, users differing by 2 % and trials by 5 %."""
    rng, needed = np.random.default_rng(5), []
    for _ in range(60):
        values = np.clip(rng.normal(effect, math.hypot(0.02, 0.05), 500), -LIMIT, LIMIT)
        found = confidence_sequence(values, ALPHA / 2 / 8, LIMIT)
        needed.append(found.crossed or 500)
    assert 0.75 * users <= np.median(needed) <= users


def test_the_lower_bound_is_above_zero_when_the_wealth_says_so() -> None:
    values = np.clip(np.random.default_rng(3).normal(0.04, 0.05, 300), -LIMIT, LIMIT)
    crossed = confidence_sequence(values, ALPHA, LIMIT).crossed
    assert crossed is not None
    before, after = (confidence_sequence(values[:n], ALPHA, LIMIT) for n in (crossed - 1, crossed))
    assert before.lower <= 0 < after.lower
    assert before.log_wealth < math.log(1 / ALPHA) <= after.log_wealth


def test_gains_fade_and_losses_do_not() -> None:
    """After a half-life the logarithm of each gain is half; what was lost stays lost."""
    gains, losses = np.full(60, 0.1), np.full(60, -0.1)
    times = np.zeros(60)
    for values, share in ((gains, 0.5), (losses, 1.0)):
        now, later = (
            confidence_sequence(values, ALPHA, LIMIT, times=times, now=now, half_life=8.0)
            for now in (0.0, 8.0)
        )
        # The mixture is dominated by its best fraction, up to the logarithm of their number.
        assert later.log_wealth == pytest.approx(share * now.log_wealth, abs=math.log(7))
    assert confidence_sequence(gains, ALPHA, LIMIT, times=times, now=1e9, half_life=8.0).lower <= 0


def test_decay_brings_no_conclusion_about() -> None:
    """Ten half-lives: at all times together it errs no more often than it says."""
    rng, runs, wrong = np.random.default_rng(4), 200, 0
    for _ in range(runs):
        times = np.sort(rng.uniform(0, 20, 600))
        values = NULLS["normal"](rng, 600)
        found = confidence_sequence(values, ALPHA, LIMIT, times=times, half_life=2.0)
        wrong += found.crossed is not None
    assert wrong / runs <= ALPHA


@pytest.mark.parametrize(("alpha", "limit"), [(0.0, 1.0), (0.7, 1.0), (0.05, 0.0)])
def test_what_is_out_of_range_is_refused(alpha: float, limit: float) -> None:
    with pytest.raises(InvalidInputError):
        confidence_sequence([], alpha, limit)
