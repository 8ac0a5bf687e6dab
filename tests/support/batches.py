"""Random float64 batches and matrices, and central finite differences."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from lorabank.numerics.contrastive import Calibration, ContrastiveBatch, Negatives
from lorabank.numerics.lora import Matrices
from lorabank.numerics.mse import MseBatch

Array = NDArray[np.float64]


def matrices(rng: np.random.Generator, rank: int, dim: int, scale: float = 1.0) -> Matrices:
    """Both matrices far from zero, so that both gradients are alive."""
    return Matrices(rng.normal(size=(rank, dim)) / dim**0.5, rng.normal(size=(dim, rank)), scale)


def mse_batch(
    rng: np.random.Generator, n: int, dim: int, *, weighted: bool = False, size: float = 1.0
) -> MseBatch:
    """Inputs of length about ``size * sqrt(dim)`` with unrelated targets."""
    X, T = size * rng.normal(size=(n, dim)), size * rng.normal(size=(n, dim))
    return MseBatch(X, T, rng.uniform(0.1, 1.0, n) if weighted else None)


def contrastive_batch(
    rng: np.random.Generator,
    n: int,
    dim: int,
    negatives: int = 7,
    *,
    tau: float = 2.0,
    prior_weight: float = 0.7,
    liked: NDArray[np.bool_] | None = None,
) -> ContrastiveBatch:
    """Priors, corrections, some hits (never a whole row), and weights, all at random."""
    hits = rng.random((n, negatives)) < 0.3
    hits[:, 0] = False
    return ContrastiveBatch(
        X=rng.normal(size=(n, dim)),
        T=rng.normal(size=(n, dim)) / dim**0.5,
        target_prior=-rng.exponential(size=n),
        negatives=Negatives(
            vectors=rng.normal(size=(negatives, dim)) / dim**0.5,
            prior=-rng.exponential(size=negatives),
            correction=rng.normal(size=negatives),
            hits=hits,
        ),
        liked=rng.random(n) < 0.5 if liked is None else liked,
        weights=rng.uniform(0.1, 1.0, n),
        calibration=Calibration(tau, prior_weight),
        reference=Calibration(0.5 * tau, 0.3),
    )


def differences(f: Callable[[Matrices], float], m: Matrices) -> tuple[Array, Array]:
    """Central differences of ``f`` by every entry of A and of B."""
    step = 1e-5

    def by(which: str) -> Array:
        base = np.asarray(getattr(m, which), np.float64)
        slopes = np.empty_like(base)
        for index in np.ndindex(*base.shape):
            moved = []
            for sign in (1, -1):
                changed = base.copy()
                changed[index] += sign * step
                A, B = (changed, m.B) if which == "A" else (m.A, changed)
                moved.append(f(m.with_matrices(A, B)))
            slopes[index] = (moved[0] - moved[1]) / (2 * step)
        return slopes

    return by("A"), by("B")
