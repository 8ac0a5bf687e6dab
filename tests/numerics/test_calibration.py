"""Fitting tau and the prior's weight."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lorabank.numerics.calibration import ScoredEvents, fit_calibration
from lorabank.numerics.contrastive import Calibration

N = 30


def events(
    n: int, tau: float, prior_weight: float, *, seed: int = 0, offered: float = 1.0
) -> ScoredEvents:
    """Choices drawn from the very softmax that is fitted."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(n, N))
    scores[:, 1:][rng.random((n, N - 1)) > offered] = -np.inf
    log_prior = np.log(rng.dirichlet(np.ones(N)))
    signs = np.where(np.isinf(scores), -np.inf, tau * np.where(np.isinf(scores), 0, scores))
    utility = signs + prior_weight * log_prior + rng.gumbel(size=scores.shape)
    return ScoredEvents(scores, log_prior, utility.argmax(axis=1), np.ones(n))


@pytest.mark.parametrize("offered", [1.0, 0.5])
@pytest.mark.parametrize(("tau", "prior_weight"), [(0.5, 1.0), (3.0, 0.0), (8.0, 0.6), (1.0, -0.5)])
def test_the_truth_is_recovered(tau: float, prior_weight: float, offered: float) -> None:
    drawn = events(20_000, tau, prior_weight, offered=offered)
    got = fit_calibration(lambda: [drawn])
    assert got.tau == pytest.approx(tau, rel=0.05, abs=0.02)
    assert got.prior_weight == pytest.approx(prior_weight, rel=0.05, abs=0.03)


def test_the_optimum_does_not_depend_on_the_start_or_the_chunks() -> None:
    drawn = events(2000, 2.0, 0.5)
    parts = [
        replace(
            drawn,
            scores=drawn.scores[rows],
            targets=drawn.targets[rows],
            weights=drawn.weights[rows],
        )
        for rows in (slice(0, 1), slice(1, 1500), slice(1500, 2000))
    ]
    expected = fit_calibration(lambda: [drawn])
    for start in (None, Calibration(0.0, 0.0), Calibration(30.0, -4.0), Calibration(5.0, 9.0)):
        got = fit_calibration(lambda: parts, start)
        assert got.tau == pytest.approx(expected.tau, rel=1e-3)
        assert got.prior_weight == pytest.approx(expected.prior_weight, rel=1e-3)


def test_items_that_are_not_offered_change_nothing() -> None:
    drawn = events(500, 2.0, 0.5)
    wider = ScoredEvents(
        np.hstack([drawn.scores, np.full((500, 4), -np.inf)]),
        np.append(drawn.log_prior, np.full(4, -3.0)),
        drawn.targets,
        drawn.weights,
    )
    expected, got = fit_calibration(lambda: [drawn]), fit_calibration(lambda: [wider])
    assert got.tau == pytest.approx(expected.tau, rel=1e-6)
    assert got.prior_weight == pytest.approx(expected.prior_weight, rel=1e-6)


def test_weights_count_like_repeated_events() -> None:
    drawn = events(300, 2.0, 0.5)
    twice = np.r_[np.arange(300), np.arange(100)]
    repeated = ScoredEvents(
        drawn.scores[twice], drawn.log_prior, drawn.targets[twice], np.ones(len(twice))
    )
    weighted = replace(drawn, weights=np.r_[np.full(100, 2.0), np.ones(200)])
    expected, got = fit_calibration(lambda: [repeated]), fit_calibration(lambda: [weighted])
    assert got.tau == pytest.approx(expected.tau, rel=1e-6)


def test_tau_stays_at_zero_where_scores_mislead_and_the_prior_is_still_fitted() -> None:
    drawn = events(3000, -2.0, 0.7)
    got = fit_calibration(lambda: [drawn])
    blind = fit_calibration(lambda: [replace(drawn, scores=np.zeros_like(drawn.scores))])
    assert got.tau == 0.0
    assert got.prior_weight == pytest.approx(blind.prior_weight, rel=1e-4)


def test_what_the_data_can_not_say_is_left_where_it_started() -> None:
    """A uniform prior has no weight to learn; scores far from zero lose no precision."""
    drawn = events(3000, 2.0, 0.0)
    flat = replace(drawn, log_prior=np.full(N, -np.log(N)))
    expected = fit_calibration(lambda: [flat], Calibration(1.0, 0.25))
    assert expected.prior_weight == 0.25
    shifted = replace(flat, scores=flat.scores + 1e6)
    assert fit_calibration(lambda: [shifted]).tau == pytest.approx(expected.tau, rel=1e-6)
    nothing = replace(flat, scores=np.zeros_like(flat.scores))
    assert fit_calibration(lambda: [nothing], Calibration(3.0, 0.25)) == Calibration(3.0, 0.25)
