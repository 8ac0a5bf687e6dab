"""Products of many rows with one vector, for exact search.

One BLAS product of a matrix takes several threads, which wait for each other for milliseconds on a
busy machine; its last bits depend on where in the matrix a row is, so that equal rows would not
tie; and it reads several rows beside each other, which is slower from memory. So each row is a
product of its own: up to twice as fast as ``einsum``.
"""

from __future__ import annotations

import numpy as np

from lorabank.types.arrays import Float64Array, FloatArray

# OpenBLAS takes threads for longer ones (10,000 numbers).
_LONGEST = 8192


def near_products(rows: FloatArray, vector: FloatArray) -> FloatArray:
    """float32 (n,): each of ``rows`` (n, dim) times ``vector`` (dim,), to float32's rounding."""
    if len(vector) > _LONGEST:
        sums: FloatArray = np.einsum("ij,j->i", rows, vector)
        return sums
    products: FloatArray = np.matmul(rows[:, None, :], vector)
    return products[:, 0]


def exact_products(rows: FloatArray, vector: Float64Array) -> Float64Array:
    """float64 (n,): the same in float64. Equal rows give equal bits."""
    wide = rows.astype(np.float64)
    if len(vector) > _LONGEST:
        sums: Float64Array = np.einsum("ij,j->i", wide, vector)
        return sums
    products: Float64Array = np.matmul(wide[:, None, :], vector)
    return products[:, 0]
