"""Exact cosine scores: the same numbers as the memory backend gives, bit by bit.

Contexts are kept as unit vectors in float32. Scores are rounded to what those can tell apart, so
that equal contexts tie (and are then ordered by id).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lorabank.numerics.products import exact_products
from lorabank.types.arrays import FloatArray

_DECIMALS = 6
# More than a float32 product's rounding error: who is this near the k-th is looked at again.
MARGIN = 2e-5


def unit_vectors(contexts: Sequence[FloatArray]) -> FloatArray:
    """float32 (n, dim): the same of n >= 1 vectors (dim,), bit by bit what is stored of each."""
    wide = np.frombuffer(b"".join(contexts), np.float32).reshape(len(contexts), -1)  # type: ignore[arg-type]
    wide = wide.astype(np.float64)
    norms = np.sqrt(np.matmul(wide[:, None, :], wide[:, :, None])[:, :, 0])
    norms[norms == 0] = 1.0
    wide /= norms
    return wide.astype(np.float32)


def exact_scores(units: FloatArray, query: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cosine of each row of ``units`` (n, dim) with the unit vector ``query``, float64 (n,)."""
    scores = exact_products(units, query).round(_DECIMALS)
    return np.minimum(np.maximum(scores, -1.0), 1.0) + 0.0  # no negative zero


def cut(scores: FloatArray, k: int) -> float:
    """A score that the k best of ``scores`` surely reach, whatever float32 rounded away."""
    if k >= len(scores):
        return -np.inf
    place = len(scores) - k
    return float(np.partition(scores, place)[place]) - MARGIN
