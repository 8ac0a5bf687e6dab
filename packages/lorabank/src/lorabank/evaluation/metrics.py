"""Rank and likelihood of what was chosen, against every item that was on offer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lorabank.evaluation.events import Events, Log
from lorabank.numerics.contrastive import Calibration, log_sum_exp
from lorabank.statistics.scores import hit_rate, ndcg, user_means
from lorabank.types.arrays import AnyFloatArray, FloatArray, IntArray

CHUNK = 512


@dataclass(frozen=True, slots=True, eq=False)
class EventScores:
    """Per event.

    Attributes:
        rank: float64 (n,), 1 is best; equal scores share the middle of their places.
        nll: float64 (n,), exact negative log-likelihood in nats over all items on offer.
    """

    rank: AnyFloatArray
    nll: AnyFloatArray


@dataclass(frozen=True, slots=True, eq=False)
class UserScores:
    """Per user, each user's mean over the own events: ``users`` (u,) ascending, rest (u,)."""

    users: IntArray
    ndcg: AnyFloatArray
    hit_rate: AnyFloatArray
    nll: AnyFloatArray


def score_events(
    log: Log,
    events: Events,
    vectors: FloatArray,
    items: FloatArray,
    log_prior: FloatArray,
    calibration: Calibration | tuple[FloatArray, FloatArray],
    *,
    chunk: int = CHUNK,
) -> EventScores:
    """Score served vectors against the whole catalogue minus what each user had before.

    An item's logit is ``tau * <y, e> + prior_weight * log_prior``.

    Args:
        log: says what each user had before.
        events: what was chosen, (n,).
        vectors: float32 (n, dim), the served vector y of each event.
        items: float32 (N, dim).
        log_prior: float32 (N,).
        calibration: of all events, or (tau, prior_weight) arrays (n,) with one of each per event.
        chunk: events at a time; memory is about ``chunk * N * 16`` bytes.
    """
    tau, weight = _per_event(calibration, len(events))
    rank, nll = np.empty(len(events)), np.empty(len(events))
    for start in range(0, len(events), chunk):
        part = slice(start, min(start + chunk, len(events)))
        logits = (tau[part, None] * vectors[part]) @ items.T
        logits += weight[part, None] * log_prior
        rank[part], nll[part] = _score_logits(log, events, part, logits)
    return EventScores(rank, nll)


def user_scores(events: Events, scores: EventScores, k: int = 10) -> UserScores:
    """Every user counts the same, however many events there are of them."""
    return UserScores(
        users=np.unique(events.user),
        ndcg=user_means(ndcg(scores.rank, k), events.user),
        hit_rate=user_means(hit_rate(scores.rank, k), events.user),
        nll=user_means(scores.nll, events.user),
    )


def mask_seen(log: Log, events: Events, part: slice | IntArray, scores: AnyFloatArray) -> None:
    """Set what was seen before each event to -inf, the target excepted. In place, (m, N)."""
    rows, target = np.arange(len(scores)), events.target[part]
    kept = scores[rows, target]
    scores[log.seen_items(events.user[part], events.seen[part])] = -np.inf
    scores[rows, target] = kept


def _score_logits(
    log: Log, events: Events, part: slice | IntArray, logits: AnyFloatArray
) -> tuple[AnyFloatArray, AnyFloatArray]:
    mask_seen(log, events, part, logits)
    rank = middle_rank(logits, events.target[part])
    chosen = logits[np.arange(len(logits)), events.target[part]]
    return rank, log_sum_exp(logits) - chosen


def middle_rank(logits: AnyFloatArray, target: IntArray) -> AnyFloatArray:
    """(m,) rank of the target in its row of ``logits`` (m, N), ties sharing the middle place."""
    chosen = logits[np.arange(len(logits)), target][:, None]
    better = np.count_nonzero(logits > chosen, axis=1)
    equal = np.count_nonzero(logits == chosen, axis=1)
    rank: AnyFloatArray = 1.0 + better + (equal - 1) / 2.0
    return rank


def _per_event(
    calibration: Calibration | tuple[FloatArray, FloatArray], count: int
) -> tuple[FloatArray, FloatArray]:
    if not isinstance(calibration, Calibration):
        return calibration
    return (
        np.full(count, calibration.tau, np.float32),
        np.full(count, calibration.prior_weight, np.float32),
    )
