"""Intervals that hold what they promise."""

from __future__ import annotations

import numpy as np
import pytest

from lorabank import InvalidInputError
from lorabank.evaluation import paired_bootstrap


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(300):
        theirs = rng.gamma(2.0, 0.5, 60)
        ours = theirs + rng.normal(0.1, 0.3, 60)
        found = paired_bootstrap(ours, theirs, confidence=0.9, resamples=400, seed=trial)
        covered += found.difference.lower <= 0.1 <= found.difference.upper
    assert 0.85 <= covered / 300 <= 0.95


def test_pairing_takes_out_what_users_share() -> None:
    rng = np.random.default_rng(1)
    theirs = rng.gamma(1.0, 10.0, 100)
    found = paired_bootstrap(theirs + 0.1, theirs)
    assert found.difference.lower == pytest.approx(0.1)
    assert found.difference.upper == pytest.approx(0.1)
    assert found.users == 100


def test_relative_difference_is_that_of_the_means() -> None:
    found = paired_bootstrap(np.array([2.0, 4.0]), np.array([1.0, 3.0]))
    assert found.relative.mean == pytest.approx(0.5)
    assert found.relative.lower <= 0.5 <= found.relative.upper


def test_same_seed_same_interval_and_zero_baseline_is_no_division() -> None:
    values = np.random.default_rng(2).random(30)
    assert paired_bootstrap(values, values[::-1]) == paired_bootstrap(values, values[::-1])
    assert paired_bootstrap(values, np.zeros(30)).relative.mean == 0.0


def test_bad_input_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="one value per user"):
        paired_bootstrap(np.ones(3), np.ones(2))
    with pytest.raises(InvalidInputError, match="one value per user"):
        paired_bootstrap(np.ones(0), np.ones(0))
    with pytest.raises(InvalidInputError, match="confidence"):
        paired_bootstrap(np.ones(3), np.ones(3), confidence=1.0)
