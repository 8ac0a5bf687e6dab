"""Ranks and likelihoods against the plainest possible code."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lorabank import Calibration
from lorabank.evaluation import (
    decayed_contexts,
    hit_rate,
    ndcg,
    ordered_log,
    score_events,
    user_scores,
)
from lorabank.evaluation.events import Events, Log


def small_case(seed: int) -> tuple[Log, Events, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    items = rng.integers(-2, 3, (9, 3)).astype(np.float32)  # few values: many ties
    users = np.r_[0, 1, 2, rng.integers(0, 3, 30)]
    columns = rng.integers(0, 9, 33), rng.random(33) < 0.7, rng.integers(0, 9, 33)
    log = ordered_log(users, *columns, rng)
    events = decayed_contexts(log, items, decay=0.9)
    return log, events, items, rng.integers(-3, 1, 9).astype(np.float32)


@given(st.integers(0, 10_000), st.integers(1, 40))
def test_rank_and_likelihood_by_brute_force(seed: int, chunk: int) -> None:
    log, events, items, log_prior = small_case(seed)
    vectors = np.round(events.x).astype(np.float32)  # exact products: ties stay ties
    calibration = Calibration(2.0, 0.5)
    scores = score_events(log, events, vectors, items, log_prior, calibration, chunk=chunk)
    for i in range(len(events)):
        start = log.first[events.user[i]]
        target = events.target[i]
        seen = set(log.item[start : start + events.seen[i]]) - {target}
        logits = {
            j: 2.0 * float(vectors[i] @ items[j]) + 0.5 * float(log_prior[j])
            for j in range(len(items))
            if j not in seen
        }
        better = sum(value > logits[target] for value in logits.values())
        equal = sum(value == logits[target] for value in logits.values())
        assert scores.rank[i] == better + (equal + 1) / 2
        total = math.log(sum(math.exp(value) for value in logits.values()))
        assert math.isclose(scores.nll[i], total - logits[target], abs_tol=1e-4)


def test_calibration_per_event_is_the_same_as_one_by_one() -> None:
    log, events, items, log_prior = small_case(7)
    rng = np.random.default_rng(7)
    tau = rng.random(len(events)).astype(np.float32)
    weight = rng.random(len(events)).astype(np.float32)
    together = score_events(log, events, events.x, items, log_prior, (tau, weight))
    for i in range(len(events)):
        one = events.where(np.arange(len(events)) == i)
        alone = score_events(
            log, one, one.x, items, log_prior, Calibration(float(tau[i]), float(weight[i]))
        )
        np.testing.assert_allclose(alone.nll, together.nll[i], rtol=1e-5)


@given(st.floats(1, 1000), st.integers(1, 50))
def test_ndcg_and_hit_rate_of_one_relevant_item(rank: float, k: int) -> None:
    ranks = np.array([rank])
    inside = rank <= k
    assert hit_rate(ranks, k)[0] == inside
    assert ndcg(ranks, k)[0] == (1 / math.log2(1 + rank) if inside else 0)


def test_users_count_the_same_however_many_events_they_have() -> None:
    log, events, items, log_prior = small_case(11)
    scores = score_events(log, events, events.x, items, log_prior, Calibration(1.0, 1.0))
    users = user_scores(events, scores)
    for position, user in enumerate(users.users):
        own = scores.nll[events.user == user]
        assert math.isclose(users.nll[position], own.mean(), rel_tol=1e-12)
