"""Adaptive filters of each user's own: NLMS, and recursive ridge regression to the identity."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from lorabank.evaluation.choosing import Candidate, most_likely
from lorabank.evaluation.ground import Ground
from lorabank.evaluation.methods.base import Calibrated, Scores
from lorabank.evaluation.views import View
from lorabank.types.arrays import FloatArray

NLMS_STEPS = (0.003, 0.01, 0.03, 0.1, 0.3)
RIDGES = (3.0, 10.0, 30.0, 100.0, 300.0)
# X (n, dim), T (n, dim), strength -> Y (n, dim), row i from the rows before it alone.
Filter: TypeAlias = Callable[[FloatArray, FloatArray, float], FloatArray]


@dataclass(frozen=True, slots=True, eq=False)
class Filtered:
    """``<y, e>`` with y from a user's own full linear map, which starts as the identity."""

    log_prior: FloatArray
    run: Filter
    strength: float
    dim: int

    @property
    def bytes_per_user(self) -> float:
        """A square float32 matrix; the ridge keeps its inverse covariance too."""
        return 4.0 * self.dim**2 * (2 if self.run is ridge else 1)

    def scores(self, view: View) -> Scores:
        """Filtered here, once; then inner products with every item."""
        events = view.events
        y = np.empty_like(events.x)
        for number in np.unique(events.user).tolist():
            rows = np.flatnonzero(events.user == number)
            y[rows] = self.run(events.x[rows], view.items[events.target[rows]], self.strength)
        return lambda rows: y[rows] @ view.items.T


def nlms(X: FloatArray, T: FloatArray, step: float) -> FloatArray:
    """Normalised least mean squares (Haykin 2014, chapter 6): ``W += step (t - W x) x^T / |x|^2``.

    W is never made: ``W x = x + sum_s step * e_s <x_s, x> / |x_s|^2`` over earlier s.
    """
    gram = X @ X.T
    power = np.maximum(np.diag(gram), 1e-6)
    errors, Y = np.zeros_like(X), np.empty_like(X)
    for i in range(len(X)):
        Y[i] = X[i] + step * ((gram[i, :i] / power[:i]) @ errors[:i])
        errors[i] = T[i] - Y[i]
    return Y


def ridge(X: FloatArray, T: FloatArray, strength: float) -> FloatArray:
    """``W`` that minimises ``sum |t - W x|^2 + strength |W - I|^2`` over the earlier rows.

    In its dual form: with K the Gram matrix, ``y = x + k (K + strength I)^-1 (T - X)``; the leading
    blocks of one Cholesky factor are the factors of all prefixes.
    """
    gram = (X @ X.T).astype(np.float64)
    factor = np.linalg.cholesky(gram + strength * np.eye(len(X)))
    from scipy.linalg import solve_triangular

    # Rows of L^-1 (T - X) do not depend on later rows, nor do the rows of L.

    half = solve_triangular(factor, (T - X).astype(np.float64), lower=True)
    # L[i, :i] solves L[:i, :i] z = K[:i, i], so k (K + sI)^-1 R = z^T half[:i].
    Y: FloatArray = X + (np.tril(factor, -1) @ half).astype(np.float32)
    return Y


def fit_nlms(ground: Ground) -> Calibrated:
    """One step size for all users."""
    return most_likely(ground, _candidates(ground, nlms, NLMS_STEPS, "step"))


def fit_ridge(ground: Ground) -> Calibrated:
    """One strength for all users."""
    return most_likely(ground, _candidates(ground, ridge, RIDGES, "ridge"))


def _candidates(
    ground: Ground, run: Filter, strengths: tuple[float, ...], name: str
) -> Iterator[Candidate]:
    for strength in strengths:
        yield {name: strength}, Filtered(ground.log_prior, run, strength, ground.items.shape[1])
