"""Truncated SVD of sums of low-rank products, without ever forming a (dim, dim) matrix."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lorabank.types.arrays import AnyFloatArray


def merge_products(
    pairs: Sequence[tuple[AnyFloatArray, AnyFloatArray]], weights: Sequence[float], rank: int
) -> tuple[AnyFloatArray, AnyFloatArray]:
    """The best rank-``rank`` factors of ``sum_i weights[i] * B_i @ A_i``.

    Averaging A and B apart would mix unlike bases; the products are what the adapters mean. The
    factors come from a QR of the stacked matrices and an SVD of their small core, with the
    singular values split evenly between A and B.

    Args:
        pairs: (A_i (r_i, dim), B_i (dim, r_i)).
        weights: one per pair; they include each adapter's scale.
        rank: of the result; missing directions are zero rows of A and columns of B.

    Returns:
        A (rank, dim), B (dim, rank) in float64: ``B @ A`` is the best approximation
        (Eckart & Young 1936).
    """
    tall = np.hstack([w * B.astype(np.float64) for (_, B), w in zip(pairs, weights, strict=True)])
    wide = np.vstack([A.astype(np.float64) for A, _ in pairs])
    Q_b, R_b = np.linalg.qr(tall)
    Q_a, R_a = np.linalg.qr(wide.T)
    U, S, V = np.linalg.svd(R_b @ R_a.T)
    kept = min(rank, len(S))
    root = np.sqrt(S[:kept])
    dim = wide.shape[1]
    A, B = np.zeros((rank, dim)), np.zeros((dim, rank))
    A[:kept] = root[:, None] * (V[:kept] @ Q_a.T)
    B[:, :kept] = (Q_b @ U[:, :kept]) * root
    return A, B
