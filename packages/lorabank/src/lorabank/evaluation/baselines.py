"""What personalisation has to beat, chosen on users other than those it is compared on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lorabank.errors import InvalidInputError
from lorabank.evaluation.events import Log
from lorabank.evaluation.folds import Fold, scored, user_weights
from lorabank.evaluation.metrics import middle_rank
from lorabank.numerics.calibration import ScoredEvents, fit_calibration
from lorabank.numerics.contrastive import Calibration
from lorabank.statistics.scores import ndcg, user_means
from lorabank.types.arrays import AnyFloatArray, FloatArray

POPULARITY_ONLY = Calibration(tau=0.0, prior_weight=1.0)
HISTORY_ONLY = Calibration(tau=1.0, prior_weight=0.0)
BLENDS = (
    POPULARITY_ONLY,
    *(Calibration(tau, 1.0) for tau in (0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 9.0)),
    HISTORY_ONLY,
)


@dataclass(frozen=True, slots=True)
class Blend:
    """The frozen blend that ranked best.

    Attributes:
        decay: of the history that the context is made of.
        calibration: the weights of the two scores; only their ratio matters for ranking.
        ndcg: nDCG@10 of the users that it was chosen on.
    """

    decay: float
    calibration: Calibration
    ndcg: float


def tune_blend(
    log: Log,
    by_decay: Mapping[float, Sequence[Fold]],
    items: FloatArray,
    blends: Sequence[Calibration] = BLENDS,
) -> Blend:
    """Choose history decay and weights of "mean of the history" and "popularity" by nDCG@10.

    Popularity alone and history alone are among the choices.

    Args:
        log: says what each user had before.
        by_decay: the same held-out events, with contexts of each decay that may be chosen.
        items: float32 (N, dim).
        blends: weights that may be chosen.

    Raises:
        InvalidInputError: nothing to choose from, or no events.
    """
    found = [
        Blend(decay, calibration, float(value))
        for decay, folds in by_decay.items()
        for calibration, value in zip(blends, _ndcg_of(log, folds, items, blends), strict=True)
    ]
    if not found:
        raise InvalidInputError("by_decay", dict(by_decay), "at least one decay and one blend")
    return max(found, key=lambda blend: blend.ndcg)


def fit_weights(
    log: Log, folds: Sequence[Fold], items: FloatArray, start: Calibration | None = None
) -> Calibration:
    """tau and prior weight under which held-out events are most likely, users counting alike.

    The events' contexts are taken for the served vectors.
    """

    def chunks() -> Iterator[ScoredEvents]:
        for fold in folds:
            weights = user_weights(fold.events)
            for part, scores in scored(log, fold, items):
                targets = fold.events.target[part]
                yield ScoredEvents(scores, fold.log_prior, targets, weights[part])

    return fit_calibration(chunks, start)


def fit_temperature(
    log: Log, folds: Sequence[Fold], items: FloatArray, blend: Calibration
) -> Calibration:
    """The blend's weights, both scaled by the factor that makes held-out events most likely.

    The ranking stays what it is; only how sure it is of itself changes.
    """

    def chunks() -> Iterator[ScoredEvents]:
        for fold in folds:
            weights = user_weights(fold.events)
            for part, scores in scored(log, fold, items):
                logits = blended(scores, fold.log_prior, blend)
                flat = np.zeros_like(fold.log_prior)
                yield ScoredEvents(logits, flat, fold.events.target[part], weights[part])

    factor = fit_calibration(chunks, Calibration(1.0, 0.0)).tau
    return Calibration(factor * blend.tau, factor * blend.prior_weight)


def blended(
    scores: FloatArray, log_prior: FloatArray, blend: Calibration, out: FloatArray | None = None
) -> FloatArray:
    """Logits (m, N) of scores; -inf stays -inf, also where the weight of the scores is zero."""
    if blend.tau:
        logits = np.multiply(scores, np.float32(blend.tau), out=out)
    else:
        logits = np.where(np.isneginf(scores), scores, np.float32(0))
    logits += np.float32(blend.prior_weight) * log_prior
    return logits


def _ndcg_of(
    log: Log, folds: Sequence[Fold], items: FloatArray, blends: Sequence[Calibration]
) -> AnyFloatArray:
    """(blends,) mean over all folds' users."""
    users = []
    for fold in folds:
        gains = np.empty((len(blends), len(fold.events)))
        for part, scores in scored(log, fold, items):
            buffer = np.empty_like(scores)
            for gain, blend in zip(gains, blends, strict=True):
                logits = blended(scores, fold.log_prior, blend, buffer)
                gain[part] = ndcg(middle_rank(logits, fold.events.target[part]))
        users.append(np.stack([user_means(gain, fold.events.user) for gain in gains]))
    if not users or not sum(part.shape[1] for part in users):
        raise InvalidInputError("folds", 0, "at least one event to choose by")
    means: AnyFloatArray = np.concatenate(users, axis=1).mean(axis=1)
    return means
