"""Row-wise Adagrad: one accumulated number per row instead of one per entry.

Adagrad (Duchi et al. 2011) with the row's mean squared gradient, as used for large embedding
tables (Mudigere et al. 2022, section 4.1.4): rows are touched at very different rates.
"""

from __future__ import annotations

import numpy as np

from lorabank.types.arrays import AnyFloatArray, IntArray

EPSILON = 1e-10


class RowAdagrad:
    """The accumulators of one table of ``rows`` rows."""

    def __init__(self, rows: int) -> None:
        self._squares = np.zeros(rows)

    def update(
        self, table: AnyFloatArray, rows: IntArray, gradient: AnyFloatArray, learning_rate: float
    ) -> None:
        """Step the distinct ``rows`` (k,) of ``table`` **in place**; ``gradient`` is (k, ...)."""
        squared = gradient**2
        self._squares[rows] += squared.mean(axis=1) if gradient.ndim > 1 else squared
        scale = learning_rate / (np.sqrt(self._squares[rows]) + EPSILON)
        scale = scale.astype(table.dtype)
        table[rows] -= (scale[:, None] if gradient.ndim > 1 else scale) * gradient
