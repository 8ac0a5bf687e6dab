"""Recursive least squares on B with A fixed: no learning rate.

With ``h = s A x`` and ``r = t - x`` the adapter's error on a sample is ``B h - r``, linear in B.
What is minimised, over all samples so far, is the ridge problem

    sum_i w_i |B h_i - r_i|^2 / |x_i|^2  +  delta |B - B_0|_F^2

with B_0 the B that the user started from. Each sample is relative to its own energy, not to its
batch's as in `MseBatch.loss`: so how a stream is cut does not matter, and for inputs of equal
length both are the same. All rows of B share one (rank, rank) information matrix.

Without forgetting the result is the closed-form ridge solution, in any order. With it, each
sample first takes ``1 - forgetting`` of what is known, but only **in its own direction**, and
never of the ridge: what a stream does not excite is not forgotten, and the covariance can't
exceed 1 / delta whatever comes (plain exponential forgetting winds up without bound).

Sources: Ljung 1999, "System Identification", section 11.2 (the recursion); Cao and Schwartz 2000,
"A directional forgetting algorithm based on the decomposition of the information matrix";
Tsakiris, Lopes and Nascimento 2010 for a regularisation that does not fade.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lorabank.types.arrays import AnyFloatArray

Matrix = NDArray[np.float64]
# Samples with no more known along them than this share of the ridge have nothing to forget.
_LITTLE = 1e-12
_CHUNK = 64  # samples whose corrections are worked out at once


def ridge_of(A: AnyFloatArray, scale: float, samples: float) -> float:
    """delta: what ``samples`` inputs in random directions tell of B on average.

    ``samples * s^2 |A|_F^2 / (rank * dim)``, so that one setting serves every encoder and rank.
    """
    rank, dim = A.shape
    energy = float(np.sum(np.asarray(A, np.float64) ** 2)) / (rank * dim)
    return float(samples * scale**2 * max(energy, np.finfo(np.float32).tiny))


def rls_step(
    B: AnyFloatArray,
    information: Matrix,
    hidden: Matrix,
    residual: Matrix,
    *,
    forgetting: float,
    ridge: float,
) -> tuple[Matrix, Matrix]:
    """(B, information) after a batch, in float64.

    Args:
        B: (dim, rank).
        information: (rank, rank).
        hidden: (n, rank), each row ``sqrt(w) s A x / |x|``.
        residual: (n, dim), each row ``sqrt(w) (t - x) / |x|``.
        forgetting: in (0, 1], per sample; 1 forgets nothing.
        ridge: delta, the part of the information that is never forgotten.
    """
    weights = np.asarray(B, np.float64)
    if forgetting == 1.0:
        return _absorb(weights, information, hidden, residual)
    for start in range(0, len(hidden), _CHUNK):
        H, R = hidden[start : start + _CHUNK], residual[start : start + _CHUNK]
        gains = np.empty_like(H)
        for row, h in enumerate(H):
            information = _without(information, h, forgetting, ridge) + np.outer(h, h)
            gains[row] = np.linalg.solve(information, h)
        weights = _corrected(weights, H, R, gains)
    return weights, information


def _corrected(B: Matrix, H: Matrix, R: Matrix, gains: Matrix) -> Matrix:
    """``B += e_i gain_i^T`` for one sample after the other, all at once.

    The error ``e_i = r_i - B h_i`` at its turn is that of the first B less what earlier samples
    have corrected, ``sum_(j < i) e_j (gain_j . h_i)``: a unit triangular system.
    """
    unlearned = np.eye(len(H)) + np.tril(H @ gains.T, -1)
    corrected: Matrix = B + np.linalg.solve(unlearned, R - H @ B.T).T @ gains
    return corrected


def _absorb(B: Matrix, information: Matrix, H: Matrix, R: Matrix) -> tuple[Matrix, Matrix]:
    """``P = (P^-1 + H^T H)^-1``, then ``B += (R - H B^T)^T H P``."""
    information = information + H.T @ H
    correction = np.linalg.solve(information, H.T @ (R - H @ B.T))
    return B + correction.T, information


def _without(information: Matrix, h: Matrix, forgetting: float, ridge: float) -> Matrix:
    """Information whose part along ``h``, the ridge aside, is multiplied by ``forgetting``.

    ``S - (1 - f) S h h^T S / (h^T S h)`` with S what is known beyond the ridge (Cao and Schwartz,
    equation of the decomposition): it stays positive semidefinite.
    """
    along = information @ h - ridge * h
    known = float(h @ along)
    if known <= _LITTLE * ridge * float(h @ h):
        return information
    return information - (1.0 - forgetting) / known * np.outer(along, along)
