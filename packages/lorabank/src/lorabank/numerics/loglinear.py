"""Log-linear models of a choice: softmax over items of a weighted sum of features.

The negative log-likelihood is convex in the weights (it is the log-partition function of an
exponential family, less a linear term; McFadden 1974, "conditional logit"), so Newton's method
finds the optimum from anywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lorabank.turns import give_way
from lorabank.types.arrays import AnyFloatArray, BoolArray, IntArray

Vector = NDArray[np.float64]
# Of one feature of the rows that are looked at together, and columns of one product of matrices.
CELLS, COLUMNS = 1 << 18, 1 << 14


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
    value, size = 0.0, len(theta)
    gradient, hessian = np.zeros(size), np.zeros((size, size))
    for rows, features in _blocks(events):
        targets, w = events.targets[rows], events.weights[rows].astype(np.float64)
        P, loss = _softmax(features, ~events.offered[rows], targets, theta)
        give_way()
        moments = _second_moments(features, P)
        total = moments[:, -1, -1].copy()
        moments /= total[:, None, None]
        means = moments[:, -1, :-1]
        chosen = features[np.arange(len(targets)), :-1, targets]
        value += float(w @ (np.log(total) + loss))
        gradient += w @ (means - chosen)
        hessian += np.tensordot(w, moments[:, :-1, :-1] - means[:, :, None] * means[:, None], 1)
    return value, gradient, hessian


def _blocks(events: ChoiceEvents) -> Iterator[tuple[slice, AnyFloatArray]]:
    """Rows, and their features (r, F + 1, N) minus those of the targets, followed by ones.

    The softmax does not see what is added to a row; so a constant feature is exactly flat. The
    array is the same one each time: few enough rows to stay in the processor's cache, and no
    memory that the system has to clear first.
    """
    count, items = events.offered.shape
    step = min(max(1, CELLS // items), max(1, count))
    size = len(events.features)
    held = np.ones((step, size + 1, items), events.features[0].dtype)
    for k, feature in enumerate(events.features):
        if feature.ndim == 1:
            held[:, k] = feature - feature.max()
    for begin in range(0, count, step):
        rows = slice(begin, min(begin + step, count))
        block, targets = held[: rows.stop - begin], events.targets[rows]
        for k, feature in enumerate(events.features):
            if feature.ndim == 2:
                origin = feature[np.arange(begin, rows.stop), targets]
                np.subtract(feature[rows], origin[:, None], out=block[:, k])
                give_way()
        yield rows, block


def _softmax(
    features: AnyFloatArray, withheld: BoolArray, targets: IntArray, theta: Vector
) -> tuple[AnyFloatArray, AnyFloatArray]:
    """(r, N) probabilities up to a factor for each row, and (r,) minus the targets' logarithm."""
    weights = np.append(theta, 0.0).astype(features.dtype)
    P = np.empty((len(features), features.shape[2]), features.dtype)
    for part in _columns(P):
        np.matmul(weights, features[:, :, part], out=P[:, part])
        give_way()
    P[withheld] = -np.inf
    P -= P.max(axis=1, keepdims=True)
    give_way()
    loss = -P[np.arange(len(P)), targets]
    return np.exp(P, out=P), loss


def _second_moments(features: AnyFloatArray, P: AnyFloatArray) -> Vector:
    """(r, F + 1, F + 1) sums of P F G over the items; with the ones, of P F and of P as well."""
    size = features.shape[1]
    moments = np.zeros((len(P), size, size))
    for part in _columns(P):
        piece = features[:, :, part]
        moments += np.matmul(piece * P[:, None, part], piece.transpose(0, 2, 1))
        give_way()
    return moments


def _columns(P: AnyFloatArray) -> Iterator[slice]:
    """Parts of the items that BLAS is quick with; it is not where a matrix is long and narrow."""
    return (slice(begin, begin + COLUMNS) for begin in range(0, P.shape[1], COLUMNS))
