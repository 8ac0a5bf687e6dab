"""The same in float64, written as in the papers, and made-up adapters and batches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

Array = NDArray[Any]
EPS = 2.0**-24
TINY = 2.0**-149  # the smallest float32


@dataclass(frozen=True, eq=False)
class Case:
    """An adapter and a batch, float32."""

    A: Array
    B: Array
    scale: float
    X: Array
    T: Array
    weights: Array | None

    @property
    def wide(self) -> tuple[Array, Array, float, Array, Array, Array]:
        """Float64, with weights."""
        w = np.ones(len(self.X)) if self.weights is None else self.weights.astype(float)
        A, B, X, T = (m.astype(float) for m in (self.A, self.B, self.X, self.T))
        return A, B, float(np.float32(self.scale)), X, T, w


def case_of(
    n: int, dim: int, rank: int, seed: int, size: float = 1.0, weighted: bool = False
) -> Case:
    """Random, with inputs of about ``size``."""
    rng = np.random.default_rng(seed)

    def draw(*shape: int) -> Array:
        return rng.standard_normal(shape).astype(np.float32)

    w = rng.uniform(0.1, 1.0, n).astype(np.float32) if weighted else None
    X, T = draw(n, dim) * np.float32(size), draw(n, dim) * np.float32(size)
    return Case(draw(rank, dim), draw(dim, rank), float(rng.uniform(0.1, 2.0)), X, T, w)


@st.composite
def cases(draw: st.DrawFn, rows: int = 12) -> Case:
    """Shapes around the lanes of vectors, odd ones included."""
    dim = draw(st.one_of(st.integers(1, 70), st.sampled_from([96, 127, 128, 384])))
    rank = min(draw(st.one_of(st.integers(1, 20), st.sampled_from([4, 8, 16, 33, 70]))), dim)
    n, seed = draw(st.integers(1, rows)), draw(st.integers(0, 2**32 - 1))
    size = draw(st.sampled_from([1.0, 1.0, 1e-12, 1e6]))
    return case_of(n, dim, rank, seed, size, draw(st.booleans()))


def forward(c: Case) -> tuple[Array, Array]:
    """Y, and how far a float32 sum of the same terms may be from it."""
    A, B, s, X, _, _ = c.wide
    Y = X + s * (X @ A.T) @ B.T
    size = abs(X) + s * (abs(X) @ abs(A).T) @ abs(B).T
    terms = A.shape[1] + A.shape[0] + 8
    return Y, terms * (EPS * size + TINY)


def sums(c: Case) -> tuple[float, float]:
    """Energy and the identity's error."""
    _, _, _, X, T, w = c.wide
    return float(w @ (X**2).sum(1)), float(w @ ((X - T) ** 2).sum(1))


def gradient(c: Case) -> tuple[float, Array, Array]:
    """sum w e^2, and the gradients of it divided by the energy."""
    A, B, s, X, T, w = c.wide
    H = X @ A.T
    E = X + s * H @ B.T - T
    W = 2.0 * w[:, None] * E / sums(c)[0]
    return float(w @ (E**2).sum(1)), s * (W @ B).T @ X, s * W.T @ H


def unsigned(c: Case) -> Case:
    """All terms of the sums at their sizes, of one sign: how much of a result may be rounding."""
    return Case(abs(c.A), abs(c.B), c.scale, abs(c.X), -abs(c.T), c.weights)


def update(c: Case, rate: float, clip: float) -> tuple[Array, Array, float]:
    """A and B after one clipped step, and the norm before clipping."""
    A, B, *_ = c.wide
    _, dA, dB = gradient(c)
    norm = float(np.sqrt((dA**2).sum() + (dB**2).sum()))
    factor = rate * min(1.0, clip / norm) if norm else rate
    return A - factor * dA, B - factor * dB, norm


def assert_close(found: Array, expected: Array, size: float = 0.0, within: float = 2e-5) -> None:
    """Equal up to ``within`` of the largest entry: sums of terms of both signs cancel.

    And up to some roundings of the largest terms, of ``size``, which may cancel entirely.
    """
    assert found.dtype == np.float32
    most = within * abs(expected).max() + 16 * EPS * size
    np.testing.assert_allclose(found, expected, rtol=within, atol=most)
