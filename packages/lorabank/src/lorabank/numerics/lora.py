"""The low-rank map ``y = x + s * B @ (A @ x)`` (Hu et al. 2021, section 4.1)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lorabank.types.arrays import AnyFloatArray, FloatArray


# Not frozen, like others that every update makes some of: it takes a third of the time.
@dataclass(slots=True, eq=False)
class Matrices:
    """A (rank, dim), B (dim, rank) and the scale s; any float dtype. Also holds gradients."""

    A: AnyFloatArray
    B: AnyFloatArray
    scale: float

    def with_matrices(self, A: AnyFloatArray, B: AnyFloatArray) -> Matrices:
        """The same scale with other matrices."""
        return Matrices(A, B, self.scale)


def initial_matrices(
    rng: np.random.Generator, rank: int, dim: int
) -> tuple[FloatArray, FloatArray]:
    """A drawn Kaiming-uniform with gain 1/sqrt(3) (bound ``1/sqrt(dim)``), B zero.

    So the adapter starts as the identity, and dA is zero at first. Shapes (rank, dim),
    (dim, rank), float32. Source: He et al. 2015; the reference code of Hu et al. 2021.
    """
    bound = dim**-0.5
    A = rng.uniform(-bound, bound, (rank, dim)).astype(np.float32)
    return A, np.zeros((dim, rank), np.float32)


def forward(m: Matrices, X: AnyFloatArray) -> tuple[AnyFloatArray, AnyFloatArray]:
    """Outputs Y (n, dim) and hidden H = X A^T (n, rank) for inputs X (n, dim)."""
    H = X @ m.A.T
    Y = H @ m.B.T
    Y *= m.scale
    Y += X
    return Y, H


def backward(
    m: Matrices, X: AnyFloatArray, H: AnyFloatArray, G: AnyFloatArray
) -> tuple[AnyFloatArray, AnyFloatArray]:
    """(dA, dB) from G = dL/dY (n, dim): dB = s G^T H and dA = s (G B)^T X."""
    dB = G.T @ H
    dB *= m.scale
    dA = (G @ m.B).T @ X
    dA *= m.scale
    return dA, dB
