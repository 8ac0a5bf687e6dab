"""The arithmetic of the reference kernel, without any checks."""

from __future__ import annotations

import math

import numpy as np

from lorabank.kernels.protocol import Slabs
from lorabank.types.arrays import BoolArray, Float64Array, FloatArray, IntArray


def squares(V: FloatArray, weights: FloatArray | None) -> float:
    """sum w |v|^2 over the rows of V (n, dim)."""
    if weights is None:
        return float(np.vdot(V, V))
    return float(weights @ np.einsum("ij,ij->i", V, V))


def residuals(
    A: FloatArray, B: FloatArray, scale: float, X: FloatArray, T: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """E = Y - T (n, dim), and s H (n, rank)."""
    H: FloatArray = X @ A.T
    H *= float(scale)
    E: FloatArray = H @ B.T
    E += X
    E -= T
    return E, H


def slopes(
    A: FloatArray,
    B: FloatArray,
    scale: float,
    X: FloatArray,
    T: FloatArray,
    weights: FloatArray | None,
    energy: float,
    dA: FloatArray,
    dB: FloatArray,
) -> tuple[float, float]:
    """See `Kernel.mse_gradient`."""
    E, H = residuals(A, B, scale, X, T)
    error = squares(E, weights)
    if weights is not None:
        E *= weights[:, None]
    E *= 2.0 / energy
    np.matmul(E.T, H, out=dB)
    U = E @ B
    U *= float(scale)
    np.matmul(U.T, X, out=dA)
    return error, math.sqrt(float(np.vdot(dA, dA)) + float(np.vdot(dB, dB)))


def step(
    A: FloatArray,
    B: FloatArray,
    scale: float,
    X: FloatArray,
    T: FloatArray,
    weights: FloatArray | None,
    energy: float,
    learning_rate: float,
    clip_threshold: float,
    A_out: FloatArray,
    B_out: FloatArray,
) -> tuple[float, float]:
    """See `Kernel.mse_update`."""
    dA, dB = np.empty_like(A), np.empty_like(B)
    with np.errstate(all="ignore"):
        error, norm = slopes(A, B, scale, X, T, weights, energy, dA, dB)
    if math.isfinite(error) and math.isfinite(norm):
        rate = -float(learning_rate) * (
            float(clip_threshold) / norm if norm > clip_threshold else 1.0
        )
        dA *= rate
        dB *= rate
        np.add(A, dA, out=A_out)
        np.add(B, dB, out=B_out)
    return error, norm


def matrices(slabs: Slabs, slot: int, rank: int, dim: int) -> tuple[FloatArray, FloatArray]:
    """Views of A and B of a slot."""
    slab, row = divmod(int(slot), len(slabs[0]))
    block, half = slabs[slab][row], rank * dim
    return block[:half].reshape(rank, dim), block[half : 2 * half].reshape(dim, rank)


def gather(slabs: Slabs, blocks: int, slots: IntArray, size: int) -> FloatArray:
    """Copies of the blocks, (n, size)."""
    if len(slabs) == 1:
        return slabs[0][slots, :size]
    gathered = np.empty((len(slots), size), np.float32)
    which, rows = np.divmod(slots, blocks)
    for slab in np.unique(which):
        here = np.flatnonzero(which == slab)
        gathered[here] = slabs[slab][rows[here], :size]
    return gathered


def forward_gathered(
    gathered: FloatArray, rank: int, scales: Float64Array, X: FloatArray
) -> tuple[FloatArray, BoolArray]:
    """Y (n, dim), and which of its rows are of use, (n,); scales are (n,) or (1,)."""
    n, dim = X.shape
    A = gathered[:, : rank * dim].reshape(n, rank, dim)
    B = gathered[:, rank * dim :].reshape(n, dim, rank)
    H = np.matmul(A, X[:, :, None])
    finite: BoolArray = np.isfinite(H).all(axis=(1, 2))
    H *= scales.astype(np.float32)[:, None, None]
    Y: FloatArray = np.matmul(B, H)[:, :, 0]
    Y += X
    return Y, finite
