"""Choices and calibrations, the same way for every method: on past users, by nDCG, then by NLL."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias, TypeVar

import numpy as np

from lorabank.errors import InvalidInputError
from lorabank.evaluation.baselines import blended
from lorabank.evaluation.ground import Ground
from lorabank.evaluation.methods.base import Calibrated, Model, Scores
from lorabank.evaluation.metrics import middle_rank
from lorabank.numerics.calibration import ScoredEvents, fit_calibration
from lorabank.numerics.contrastive import Calibration, log_sum_exp
from lorabank.statistics.scores import ndcg
from lorabank.types.arrays import AnyFloatArray, FloatArray, IntArray

Candidate: TypeAlias = tuple[Mapping[str, float], Model]
Fitted = TypeVar("Fitted")


def calibrate(ground: Ground, model: Model, start: Calibration | None = None) -> Calibration:
    """tau and prior weight under which held-out events are most likely, users counting alike."""
    return HeldOut(ground, model.scores(ground.choose), model.log_prior).calibrate(start)


def temper(ground: Ground, model: Model, blend: Calibration) -> Calibration:
    """The same ranking as ``blend``, with the temperature that fits held-out events best."""
    scores = model.scores(ground.choose)

    def logits(rows: IntArray) -> FloatArray:
        return blended(scores(rows), model.log_prior, blend)

    flat = np.zeros_like(model.log_prior)
    factor = HeldOut(ground, logits, flat).calibrate(Calibration(1.0, 0.0)).tau
    return Calibration(factor * blend.tau, factor * blend.prior_weight)


def most_likely(
    ground: Ground, candidates: Iterable[Candidate], start: Calibration | None = None
) -> Calibrated:
    """Of the candidates the one that makes held-out events most likely, each calibrated."""
    found: list[tuple[float, Calibrated]] = []
    for choices, model in candidates:
        held_out = HeldOut(ground, model.scores(ground.choose), model.log_prior)
        calibration = held_out.calibrate(start)
        found.append((held_out.nll(calibration), Calibrated(model, calibration, choices)))
        start = calibration
    return min(_not_empty(found), key=lambda pair: pair[0])[1]


def best_ranking(
    ground: Ground, candidates: Iterable[Candidate], blends: Sequence[Calibration]
) -> Calibrated:
    """Candidate and blend that rank held-out events best; then its temperature is fitted."""
    found: list[Calibrated] = []
    for choices, model in candidates:
        means = held_out_ndcg(ground, model, blends)
        found += [
            Calibrated(model, blend, choices, float(mean))
            for blend, mean in zip(blends, means, strict=True)
        ]
    best = max(_not_empty(found), key=lambda fitted: fitted.ndcg)
    calibration = temper(ground, best.model, best.calibration)
    return Calibrated(best.model, calibration, best.choices, best.ndcg)


def held_out_ndcg(ground: Ground, model: Model, blends: Sequence[Calibration]) -> list[float]:
    """nDCG@10 of the choose users under each blend."""
    scores, view = model.scores(ground.choose), ground.choose
    weights = ground.weights(ground.choose_rows)
    gains: list[list[AnyFloatArray]] = [[] for _ in blends]
    for rows in view.chunks(ground.choose_rows):
        values = scores(rows)
        view.mask(rows, values)
        for gain, blend in zip(gains, blends, strict=True):
            logits = blended(values, model.log_prior, blend)
            gain.append(ndcg(middle_rank(logits, view.events.target[rows])))
    return [float(np.average(np.concatenate(gain), weights=weights)) for gain in gains]


class HeldOut:
    """Events of the choose users with a model's scores: few enough to be held."""

    def __init__(self, ground: Ground, scores: Scores, log_prior: FloatArray) -> None:
        view, weights = ground.choose, ground.weights(ground.calibrate_rows)
        self._parts: list[ScoredEvents] = []
        done = 0
        for rows in view.chunks(ground.calibrate_rows):
            values, target = scores(rows), view.events.target[rows]
            view.mask(rows, values)
            part = weights[done : done + len(rows)]
            self._parts.append(ScoredEvents(values, log_prior, target, part))
            done += len(rows)

    def calibrate(self, start: Calibration | None) -> Calibration:
        """By maximum likelihood."""
        return fit_calibration(lambda: self._parts, start)

    def nll(self, calibration: Calibration) -> float:
        """Mean over the users."""
        total, weight = 0.0, 0.0
        for part in self._parts:
            logits = blended(part.scores, part.log_prior, calibration)
            chosen = logits[np.arange(len(logits)), part.targets]
            total += float(part.weights @ (log_sum_exp(logits) - chosen))
            weight += float(part.weights.sum())
        return total / weight


def _not_empty(found: list[Fitted]) -> list[Fitted]:
    if not found:
        raise InvalidInputError("candidates", 0, "at least one to choose from")
    return found
