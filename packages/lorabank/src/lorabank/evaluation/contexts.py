"""What a user likes, from what the user liked before."""

from __future__ import annotations

import itertools

import numpy as np

from lorabank.errors import InvalidInputError
from lorabank.evaluation.events import Events, Log, events_of
from lorabank.types.arrays import FloatArray
from lorabank.types.checks import check_count, check_number

# Likes of one user at a time: enough to keep BLAS busy, few enough for a narrow band.
BLOCK = 64


def decayed_contexts(log: Log, items: FloatArray, *, decay: float, window: int = 20) -> Events:
    """Events whose context is the decayed mean of the last ``window`` items liked before.

    The newest earlier item weighs 1, the one before it ``decay``, and so on; the sum is scaled to
    unit length (zero stays zero). The first like of a user has no context, and is no event.

    Args:
        log: in order of time.
        items: float32 (N, dim).
        decay: in (0, 1].
        window: how many earlier likes count, >= 1.

    Raises:
        InvalidInputError: a decay or window outside its range, or an item without a vector.
    """
    check_number(decay, "decay", low=1e-6, high=1.0)
    check_count(window, "window", low=1)
    rows = np.flatnonzero(log.liked)
    item, user = log.item[rows], log.user[rows]
    if len(item) and int(item.max()) >= len(items):
        raise InvalidInputError("log.item", int(item.max()), f"positions below {len(items)}")
    weights = np.float32(decay) ** np.arange(window, dtype=np.float32)
    x = np.zeros((len(rows), items.shape[1]), np.float32)
    bounds = np.searchsorted(user, np.arange(log.users + 1))
    for start, stop in itertools.pairwise(bounds.tolist()):
        for begin in range(start + 1, stop, BLOCK):
            end = min(begin + BLOCK, stop)
            oldest = max(start, begin - window)
            age = np.arange(begin, end)[:, None] - np.arange(oldest, end - 1)
            inside = (age >= 1) & (age <= window)
            band = np.where(inside, weights[np.clip(age - 1, 0, window - 1)], np.float32(0))
            x[begin:end] = band @ items[item[oldest : end - 1]]
    norm = np.linalg.norm(x, axis=1, keepdims=True)
    x /= np.where(norm > 0, norm, 1)
    return events_of(log, x)
