"""What each user liked last, as positions of items."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from lorabank.types.arrays import BoolArray, FloatArray, IntArray


@lru_cache(maxsize=64)
def decays(decay: float, count: int) -> FloatArray:
    """``decay ** age`` for the ages 0, 1, ..., float32 (count,), read-only."""
    weights: FloatArray = np.float32(decay) ** np.arange(count, dtype=np.float32)
    weights.setflags(write=False)
    return weights


def recent_likes(
    user: IntArray, item: IntArray, liked: BoolArray, positions: IntArray, window: int
) -> IntArray:
    """The items that each row's user liked just before that row.

    Args:
        user, item, liked: (M,) columns of a log sorted by user, and by time within a user.
        positions: (n,) rows of the log.
        window: items at most.

    Returns:
        int64 (n, window), newest first, padded with -1.
    """
    likes = np.flatnonzero(liked)
    before: IntArray = np.cumsum(liked) - liked
    place = before[positions][:, None] - 1 - np.arange(window)
    row = likes[np.maximum(place, 0)] if len(likes) else np.zeros_like(place)
    same = (place >= 0) & (user[row] == user[positions][:, None])
    return np.where(same, item[row], -1).astype(np.int64)
