"""Log-linear models of a choice: softmax over items of a weighted sum of features.

The negative log-likelihood is convex in the weights (it is the log-partition function of an
exponential family, less a linear term; McFadden 1974, "conditional logit"), so Newton's method
finds the optimum from anywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lorabank.turns import give_way, unhurried
from lorabank.types.arrays import AnyFloatArray, BoolArray, IntArray

Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class ChoiceEvents:
    """Events, each the choice of one item among those on offer.

    Attributes:
        features: one array per weight: (n, N), or (N,) where it is the same for all events.
        offered: (n, N); the target is always on offer.
        targets: (n,) position of the chosen item.
        weights: (n,) of the events.
    """

    features: tuple[AnyFloatArray, ...]
    offered: BoolArray
    targets: IntArray
    weights: AnyFloatArray


Chunks = Callable[[], Iterable[ChoiceEvents]]


def fit_log_linear(
    chunks: Chunks,
    start: Sequence[float],
    lower: Sequence[float],
    *,
    iterations: int = 30,
    tolerance: float = 1e-7,
) -> tuple[Vector, float]:
    """Minimise the weighted mean negative log-likelihood by damped, projected Newton steps.

    Along flat directions (a feature that is the same for all items says nothing about its weight)
    the start is kept.

    Args:
        chunks: gives the events anew at each pass, so that they need not all be in memory.
        start: weights to begin with, (F,).
        lower: bounds from below, (F,), -inf for none.
        iterations: passes at most.
        tolerance: relative decrease at which it stops.

    Returns:
        The weights float64 (F,), and the mean negative log-likelihood there.
    """
    bounds = np.asarray(lower, np.float64)
    theta = np.maximum(np.asarray(start, np.float64), bounds)
    value, gradient, hessian = evaluate(chunks(), theta)
    damping = 1e-6
    for _ in range(iterations):
        step = _newton_step(theta > bounds, gradient, hessian, damping)
        candidate = np.maximum(theta - step, bounds)
        new_value, new_gradient, new_hessian = evaluate(chunks(), candidate)
        settled = abs(value - new_value) < tolerance * abs(value)
        if new_value > value and not settled:
            damping = max(damping, 1e-4) * 10
            continue
        if new_value <= value:
            theta, value, gradient, hessian = candidate, new_value, new_gradient, new_hessian
        if settled:
            break
        damping = max(damping / 10, 1e-9)
    return theta, value


def evaluate(chunks: Iterable[ChoiceEvents], theta: Vector) -> tuple[float, Vector, Vector]:
    """Weighted mean negative log-likelihood, its gradient (F,) and Hessian (F, F) at theta."""
    size = len(theta)
    value, total = 0.0, 0.0
    gradient, hessian = np.zeros(size), np.zeros((size, size))
    for events in chunks:
        part = _evaluate_chunk(events, theta)
        value, gradient, hessian = value + part[0], gradient + part[1], hessian + part[2]
        total += float(events.weights.sum())
    return value / total, gradient / total, hessian / total


def _newton_step(inside: BoolArray, gradient: Vector, hessian: Vector, damping: float) -> Vector:
    """The step in the free directions: neither flat, nor held at their bound."""
    curvature = np.diag(hessian)
    free = (curvature > 0) & (inside | (gradient < 0))
    step = np.zeros(len(gradient))
    if free.any():
        damped = (hessian + damping * np.diag(curvature))[np.ix_(free, free)]
        step[free] = np.linalg.solve(damped, gradient[free])
    return step


def _evaluate_chunk(events: ChoiceEvents, theta: Vector) -> tuple[float, Vector, Vector]:
    """Sums over a chunk: the gradient is E[F] - F[target], the Hessian Cov[F], under the model."""
    features = [_centred(feature, events.targets) for feature in unhurried(events.features, 1)]
    losses, P = _softmax(features, events, theta)
    w = events.weights
    weighted = [P * F if F.ndim == 2 else F for F in unhurried(features, 1)]
    means = [W.sum(axis=1) if W.ndim == 2 else P @ W for W in unhurried(weighted, 1)]
    chosen = [_at_targets(F, events.targets) for F in features]
    gradient = np.array([w @ (m - c) for m, c in zip(means, chosen, strict=True)], np.float64)
    hessian = np.empty((len(theta), len(theta)))
    for i, F in enumerate(features):
        for j in range(i + 1):
            give_way()
            second = _second_moment(P, (F, weighted[i]), (features[j], weighted[j]))
            hessian[i, j] = hessian[j, i] = w @ (second - means[i] * means[j])
    return float(w @ losses), gradient, hessian


def _centred(feature: AnyFloatArray, targets: IntArray) -> AnyFloatArray:
    """The softmax does not see what is added to a row: from here, a constant is exactly flat."""
    origin = feature.max() if feature.ndim == 1 else feature[np.arange(len(targets)), targets, None]
    centred: AnyFloatArray = feature - origin
    return centred


def _at_targets(feature: AnyFloatArray, targets: IntArray) -> AnyFloatArray:
    values: AnyFloatArray
    values = feature[targets] if feature.ndim == 1 else feature[np.arange(len(targets)), targets]
    return values


def _second_moment(
    P: AnyFloatArray,
    one: tuple[AnyFloatArray, AnyFloatArray],
    other: tuple[AnyFloatArray, AnyFloatArray],
) -> AnyFloatArray:
    """(n,) E[F G] under P (n, N), for (F, P * F) and (G, P * G); 1-d ones come unweighted."""
    (F, PF), (G, PG) = one, other
    moment: AnyFloatArray
    if F.ndim == 1:
        moment = P @ (F * G) if G.ndim == 1 else PG @ F
    else:
        moment = PF @ G if G.ndim == 1 else np.einsum("ij,ij->i", PF, G)
    return moment


def _softmax(
    features: list[AnyFloatArray], events: ChoiceEvents, theta: Vector
) -> tuple[AnyFloatArray, AnyFloatArray]:
    """Losses (n,) and probabilities (n, N), in the dtype of the features."""
    P = np.zeros(events.offered.shape, features[0].dtype)
    for weight, F in zip(theta.astype(P.dtype), features, strict=True):
        P += weight * F
        give_way()
    P[~events.offered] = -np.inf
    give_way()
    P -= P.max(axis=1, keepdims=True)
    chosen = P[np.arange(len(P)), events.targets]
    give_way()
    np.exp(P, out=P)
    give_way()
    total = P.sum(axis=1, keepdims=True)
    P /= total
    losses: AnyFloatArray = np.log(total[:, 0]) - chosen
    return losses, P
