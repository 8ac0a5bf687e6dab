"""Baselines find what there is to find, on users held out."""

from __future__ import annotations

import numpy as np
import pytest

from lorabank import Calibration, InvalidInputError, ItemPool
from lorabank.evaluation import (
    Fold,
    Log,
    decayed_contexts,
    fit_temperature,
    fit_weights,
    make_folds,
    ordered_log,
    score_events,
    tune_blend,
)
from lorabank.evaluation.baselines import BLENDS, HISTORY_ONLY, POPULARITY_ONLY, blended

ITEMS, USERS = 80, 40


def made_up(seed: int, *, taste: float, popularity: float) -> tuple[Log, np.ndarray]:
    """Users choose by the similarity to their own taste, and by popularity."""
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((ITEMS, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    common = popularity * rng.standard_normal(ITEMS)
    chosen = []
    for _ in range(USERS):
        own = vectors[rng.integers(ITEMS)]
        noise = rng.gumbel(size=ITEMS)
        chosen.append(np.argsort(-(taste * vectors @ own + common + noise))[:25])
    item = np.stack([rng.permutation(row) for row in chosen])
    user = np.repeat(np.arange(USERS), 25)
    time = np.tile(np.arange(25.0), USERS)
    return ordered_log(user, item.ravel(), np.ones(item.size, np.bool_), time, rng), vectors


def folds_of(log: Log, vectors: np.ndarray, decay: float, per_user: int = 8) -> tuple[Fold, ...]:
    events = decayed_contexts(log, vectors, decay=decay)
    rng = np.random.default_rng(5)
    return make_folds(log, events, np.arange(USERS), vectors, rng, folds=4, per_user=per_user)


def test_popularity_alone_wins_where_there_is_no_taste() -> None:
    log, vectors = made_up(0, taste=0.0, popularity=2.0)
    blend = tune_blend(log, {1.0: folds_of(log, vectors, 1.0)}, vectors)
    assert blend.calibration.tau <= 1.0


def test_history_weighs_where_there_is_taste() -> None:
    log, vectors = made_up(0, taste=8.0, popularity=0.0)
    by_decay = {decay: folds_of(log, vectors, decay) for decay in (0.5, 1.0)}
    blend = tune_blend(log, by_decay, vectors)
    assert blend.calibration == HISTORY_ONLY or blend.calibration.tau >= 4
    assert blend.decay == 1.0, "taste does not change, so the whole history tells of it"


def test_folds_know_nothing_of_their_own_users() -> None:
    log, vectors = made_up(1, taste=2.0, popularity=1.0)
    folds = folds_of(log, vectors, 0.9)
    for fold in folds:
        own = np.unique(fold.events.user)
        others = np.setdiff1d(np.arange(USERS), own)
        expected = ItemPool(vectors, log.counts(others, ITEMS)).log_prior
        np.testing.assert_array_equal(fold.log_prior, expected)
        assert (np.bincount(fold.events.user)[own] <= 8).all()
    users = np.concatenate([np.unique(fold.events.user) for fold in folds])
    np.testing.assert_array_equal(np.sort(users), np.arange(USERS))


def test_temperature_keeps_the_ranking_and_likelihood_weights_are_likeliest() -> None:
    log, vectors = made_up(2, taste=3.0, popularity=1.0)
    folds = folds_of(log, vectors, 1.0, per_user=30)
    chosen = Calibration(6.0, 1.0)
    scaled = fit_temperature(log, folds, vectors, chosen)
    assert scaled.tau / scaled.prior_weight == pytest.approx(6.0)
    best = fit_weights(log, folds, vectors)
    others = (chosen, scaled, Calibration(best.tau * 1.1, best.prior_weight))
    assert all(_nll(log, folds, vectors, best) <= _nll(log, folds, vectors, o) for o in others)
    assert _nll(log, folds, vectors, scaled) <= _nll(log, folds, vectors, chosen)


def test_popularity_has_a_temperature_too() -> None:
    log, vectors = made_up(3, taste=1.0, popularity=2.0)
    scaled = fit_temperature(log, folds_of(log, vectors, 1.0), vectors, POPULARITY_ONLY)
    assert scaled.tau == 0
    assert scaled.prior_weight > 0


def test_what_was_seen_stays_out_of_every_blend() -> None:
    scores = np.array([[0.5, -np.inf, 0.1]], np.float32)
    for blend in BLENDS:
        logits = blended(scores, np.zeros(3, np.float32), blend)
        assert np.isneginf(logits[0, 1])
        assert np.isfinite(logits[0, [0, 2]]).all()


def test_nothing_to_choose_by_is_refused() -> None:
    log, vectors = made_up(4, taste=1.0, popularity=1.0)
    with pytest.raises(InvalidInputError, match="at least one decay"):
        tune_blend(log, {}, vectors)
    with pytest.raises(InvalidInputError, match="at least one event"):
        tune_blend(log, {1.0: ()}, vectors)


def _nll(log: Log, folds: tuple[Fold, ...], vectors: np.ndarray, calibration: Calibration) -> float:
    """Mean over users, as both fits see it."""
    values = []
    for fold in folds:
        events = fold.events
        nll = score_events(log, events, events.x, vectors, fold.log_prior, calibration).nll
        values += [nll[events.user == user].mean() for user in np.unique(events.user)]
    return float(np.mean(values))
