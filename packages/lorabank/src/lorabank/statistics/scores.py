"""Scores of rankings in which one item is right, and their means by user."""

from __future__ import annotations

import numpy as np

from lorabank.types.arrays import AnyFloatArray, IntArray


def ndcg(rank: AnyFloatArray, k: int = 10) -> AnyFloatArray:
    """Normalised discounted cumulative gain of one relevant item: ``1 / log2(1 + rank)``, or 0.

    ``rank`` (n,): 1 is best; what is not among the first ``k`` gains nothing.
    """
    gain: AnyFloatArray = np.where(rank <= k, 1.0 / np.log2(1.0 + rank), 0.0)
    return gain


def hit_rate(rank: AnyFloatArray, k: int = 10) -> AnyFloatArray:
    """1 where the item is among the first k, else 0."""
    hit: AnyFloatArray = (rank <= k).astype(np.float64)
    return hit


def user_means(values: AnyFloatArray, user: IntArray) -> AnyFloatArray:
    """Mean of ``values`` (n,) within each user that occurs, (u,), by the user's number."""
    _, inverse = np.unique(user, return_inverse=True)
    means: AnyFloatArray = np.bincount(inverse, values) / np.bincount(inverse)
    return means
