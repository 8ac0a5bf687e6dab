"""Orthonormal bases of tall matrices."""

from __future__ import annotations

import numpy as np

from lorabank.turns import give_way
from lorabank.types.arrays import FloatArray

# `np.linalg.qr` keeps the interpreter's lock for the whole of a factorisation: half a millisecond
# for as many rows of 80 columns.
ROWS = 512


def orthonormal(matrix: FloatArray) -> FloatArray:
    """Float32 (n, k), n >= k: orthonormal columns that span those of ``matrix`` (n, k).

    Blocks of rows are factorised one by one, and then their triangles (Demmel et al. 2012, "TSQR"):
    as stable as a factorisation of all rows at once, also where columns depend on each other.
    """
    parts, triangles = [], []
    step = max(ROWS, 2 * matrix.shape[1])  # more rows than triangles have
    for start in range(0, len(matrix), step):
        give_way()
        Q, R = np.linalg.qr(matrix[start : start + step])
        parts.append(Q)
        triangles.append(R)
    if len(parts) == 1:
        return parts[0]
    give_way()
    joined = orthonormal(np.concatenate(triangles))
    give_way()
    ends = np.cumsum([len(R) for R in triangles])[:-1]
    return np.concatenate([Q @ P for Q, P in zip(parts, np.split(joined, ends), strict=True)])
