"""Fitting the two numbers of the served logit, tau and the prior's weight, on held-out events."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from lorabank.numerics.contrastive import Calibration
from lorabank.numerics.loglinear import ChoiceEvents, fit_log_linear
from lorabank.turns import give_way
from lorabank.types.arrays import AnyFloatArray, BoolArray, IntArray


@dataclass(frozen=True, slots=True, eq=False)
class ScoredEvents:
    """Events to calibrate on.

    Attributes:
        scores: ``<y, e>`` of every item of the pool, (n, N); -inf where an item is not offered.
        log_prior: (N,).
        targets: position of the chosen item, (n,).
        weights: of the events, (n,).
    """

    scores: AnyFloatArray
    log_prior: AnyFloatArray
    targets: IntArray
    weights: AnyFloatArray


def fit_calibration(
    chunks: Callable[[], Iterable[ScoredEvents]],
    start: Calibration | None = None,
    *,
    iterations: int = 30,
) -> Calibration:
    """Minimise the weighted exact negative log-likelihood by damped Newton steps.

    The likelihood is that of a softmax that is linear in (tau, prior_weight), so it is convex and
    the optimum is unique up to flat directions (Platt 1999; Guo et al. 2017 for tau alone), along
    which the start is kept: a uniform prior says nothing about its weight. tau is kept >= 0.

    Args:
        chunks: gives the events anew at each pass, so that they need not all be in memory.
        start: where to begin.
        iterations: passes at most.
    """
    first = (start.tau, start.prior_weight) if start else (1.0, 1.0)
    theta, _ = fit_log_linear(
        lambda: map(_as_choices, chunks()), first, (0.0, -np.inf), iterations=iterations
    )
    return Calibration(float(theta[0]), float(theta[1]))


def _as_choices(events: ScoredEvents) -> ChoiceEvents:
    offered: BoolArray = ~np.isneginf(events.scores)
    give_way()
    scores = np.where(offered, events.scores, events.scores.dtype.type(0))
    give_way()
    log_prior = events.log_prior.astype(scores.dtype)
    return ChoiceEvents((scores, log_prior), offered, events.targets, events.weights)
