"""Fitting the two numbers of the served logit, tau and the prior's weight, on held-out events."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lorabank.numerics.contrastive import Calibration
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
    theta = np.array([start.tau, start.prior_weight]) if start else np.array([1.0, 1.0])
    value, gradient, hessian = _evaluate(chunks(), theta)
    damping = 1e-6
    for _ in range(iterations):
        step = _newton_step(theta, gradient, hessian, damping)
        candidate = np.array([max(theta[0] - step[0], 0.0), theta[1] - step[1]])
        new_value, new_gradient, new_hessian = _evaluate(chunks(), candidate)
        settled = abs(value - new_value) < 1e-7 * abs(value)
        if new_value > value and not settled:
            damping = max(damping, 1e-4) * 10
            continue
        if new_value <= value:
            theta, value, gradient, hessian = candidate, new_value, new_gradient, new_hessian
        if settled:
            break
        damping = max(damping / 10, 1e-9)
    return Calibration(float(theta[0]), float(theta[1]))


def _newton_step(
    theta: NDArray[np.float64],
    gradient: NDArray[np.float64],
    hessian: NDArray[np.float64],
    damping: float,
) -> NDArray[np.float64]:
    """The step in the free directions: neither flat, nor held at tau = 0 by its bound."""
    curvature = np.diag(hessian)
    free = curvature > 0
    free[0] &= theta[0] > 0 or gradient[0] < 0
    step = np.zeros(2)
    if free.any():
        damped = (hessian + damping * np.diag(curvature))[np.ix_(free, free)]
        step[free] = np.linalg.solve(damped, gradient[free])
    return step


def _evaluate(
    chunks: Iterable[ScoredEvents], theta: NDArray[np.float64]
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """Weighted mean NLL with its gradient (2,) and Hessian (2, 2) at theta."""
    value, total = 0.0, 0.0
    gradient, hessian = np.zeros(2), np.zeros((2, 2))
    for events in chunks:
        part = _evaluate_chunk(events, theta)
        value, gradient, hessian = value + part[0], gradient + part[1], hessian + part[2]
        total += float(events.weights.sum())
    return value / total, gradient / total, hessian / total


def _evaluate_chunk(
    events: ScoredEvents, theta: NDArray[np.float64]
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """Scores and prior count from their maximum: the softmax does not see the difference, and
    what is constant becomes exactly flat."""
    offered = ~np.isneginf(events.scores)
    peak = events.scores.max(axis=1, keepdims=True)
    scores = np.where(offered, events.scores - peak, events.scores.dtype.type(0))
    log_prior = (events.log_prior - events.log_prior.max()).astype(scores.dtype)
    losses, P = _softmax(scores, log_prior, offered, events.targets, theta)
    rows, w = np.arange(len(P)), events.weights
    PS = P * scores
    mean_score, mean_prior = PS.sum(axis=1), P @ log_prior
    gradient = np.array(
        [
            w @ (mean_score - scores[rows, events.targets]),
            w @ (mean_prior - log_prior[events.targets]),
        ]
    )
    cross = w @ (PS @ log_prior - mean_score * mean_prior)
    hessian = np.array(
        [
            [w @ (np.einsum("ij,ij->i", PS, scores) - mean_score**2), cross],
            [cross, w @ (P @ log_prior**2 - mean_prior**2)],
        ]
    )
    return float(w @ losses), gradient, hessian


def _softmax(
    scores: AnyFloatArray,
    log_prior: AnyFloatArray,
    offered: BoolArray,
    targets: IntArray,
    theta: NDArray[np.float64],
) -> tuple[AnyFloatArray, AnyFloatArray]:
    """Negative log-likelihoods (n,) and probabilities (n, N), in the scores' dtype."""
    tau, weight = theta.astype(scores.dtype)
    P: AnyFloatArray = tau * scores
    P += weight * log_prior
    P[~offered] = -np.inf
    P -= P.max(axis=1, keepdims=True)
    chosen = P[np.arange(len(P)), targets]
    np.exp(P, out=P)
    total = P.sum(axis=1, keepdims=True)
    P /= total
    losses: AnyFloatArray = np.log(total[:, 0]) - chosen
    return losses, P
