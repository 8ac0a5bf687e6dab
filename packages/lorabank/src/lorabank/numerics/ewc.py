"""EWC++: a quadratic pull towards an anchor, weighted by running importance.

Penalty ``lambda/2 * sum(F * (theta - theta*)^2)`` (Kirkpatrick et al. 2017, equation 3) with F a
running average (Chaudhry et al. 2018, section 4.1), here decayed per sample so that it does not
depend on how the stream is cut. The penalty never feeds back into F.
"""

from __future__ import annotations

import numpy as np

from lorabank.numerics.batch import Batch
from lorabank.numerics.lora import Matrices
from lorabank.types.arrays import AnyFloatArray
from lorabank.types.weights import Importance


def empty_importance(objective: str, rank: int, dim: int) -> Importance:
    """No importance yet: factors (1, rank), (1, dim) for "mse", else (dim, rank), (rank, dim)."""
    rows, columns = ((1, rank), (1, dim)) if objective == "mse" else ((dim, rank), (rank, dim))
    return Importance(np.zeros(rows, np.float32), np.zeros(columns, np.float32))


def accumulate(previous: Importance, batch: Batch, anchor: Matrices, decay: float) -> Importance:
    """The running importance after the batch's samples, evaluated at the anchor weights."""
    rows, columns = batch.importance(anchor, decay)
    keep = decay ** len(batch)
    return Importance(
        (keep * previous.rows + rows).astype(np.float32),
        (keep * previous.columns + columns).astype(np.float32),
        keep * previous.mass + 1.0 - keep,
    )


def diagonal(
    importance: Importance, anchor: Matrices, objective: str
) -> tuple[AnyFloatArray, AnyFloatArray]:
    """(F_A, F_B), freed of the start-up bias; broadcastable to (rank, dim), (dim, rank).

    For mse: F_B[i, k] = s^2 E[h_k^2 / |x|^2], F_A[k, j] = s^2 |B[:, k]|^2 E[x_j^2 / |x|^2].
    """
    mass = max(importance.mass, 1e-12)
    if objective != "mse":
        return importance.columns / mass, importance.rows / mass
    squared_scale = anchor.scale**2 / mass
    column_energy = np.einsum("ik,ik->k", anchor.B, anchor.B)
    return squared_scale * column_energy[:, None] * importance.columns, (
        squared_scale * importance.rows
    )


def penalty(
    m: Matrices, anchor: Matrices, F: tuple[AnyFloatArray, AnyFloatArray], strength: float
) -> float:
    """``strength/2 * sum(F * (theta - theta*)^2)`` over both matrices."""
    F_A, F_B = F
    total = np.sum(F_A * (m.A - anchor.A) ** 2) + np.sum(F_B * (m.B - anchor.B) ** 2)
    return 0.5 * strength * float(total)


def penalty_gradient(
    m: Matrices, anchor: Matrices, F: tuple[AnyFloatArray, AnyFloatArray], strength: float
) -> tuple[AnyFloatArray, AnyFloatArray]:
    """``strength * F * (theta - theta*)`` for A and for B."""
    F_A, F_B = F
    return strength * F_A * (m.A - anchor.A), strength * F_B * (m.B - anchor.B)
