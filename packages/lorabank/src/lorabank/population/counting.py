"""Counting what was liked before and after what, each user once per pair."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from lorabank.numerics.ranges import distinct
from lorabank.turns import unhurried
from lorabank.types.arrays import BoolArray, IntArray

Weights: TypeAlias = NDArray[np.float64]
# Occurrences of pairs in memory at a time, before they are added up.
CHUNK = 1 << 22


@dataclass(frozen=True, slots=True, eq=False)
class PairCounts:
    """Pairs of items, each liked by enough users, that were liked within reach of one another.

    Attributes:
        low, high: (p,) positions of the two, low < high.
        users: (p,) distinct users who had the pair, in either order.
        rising: (decays, p) weight of "high was liked after low": the sum over users of
            ``decay ** (distance - 1)`` at their closest occurrence.
        falling: (decays, p) the same of "low was liked after high".
        likes: (N,) distinct users who liked each item.
        min_users: how many are enough, for an item and for a pair that is shown by itself.
    """

    low: IntArray
    high: IntArray
    users: IntArray
    rising: Weights
    falling: Weights
    likes: IntArray
    min_users: int

    def common(self) -> PairCounts:
        """The pairs that enough users had."""
        enough = self.users >= self.min_users
        return replace(
            self,
            low=self.low[enough],
            high=self.high[enough],
            users=self.users[enough],
            rising=self.rising[:, enough],
            falling=self.falling[:, enough],
        )


def count_pairs(
    user: IntArray,
    item: IntArray,
    size: int,
    *,
    reach: int,
    decays: tuple[float, ...],
    min_users: int,
) -> PairCounts:
    """Count over the liked rows of a log, sorted by user and by time within a user.

    A user counts once per pair and order, at the closest occurrence: nobody's repetitions
    dominate. An item that fewer than ``min_users`` distinct users liked is in no pair.

    Args:
        user, item: (M,) columns of the liked rows.
        size: number of items N.
        reach: how many likes apart two items may be.
        decays: to give weights for.
        min_users: distinct users that an item needs.
    """
    likes = np.bincount(distinct(user * size + item) % size, minlength=size).astype(np.int64)
    common = likes[item] >= min_users
    parts = [
        _count_chunk(user[part], item[part], common[part], size, reach, decays)
        for part in unhurried(_whole_users(user, max(1, CHUNK // reach)), 1)
    ]
    keys = np.concatenate([np.zeros(0, np.int64), *(part[0] for part in parts)])
    sums = np.concatenate([np.zeros((1 + 2 * len(decays), 0)), *(p[1] for p in parts)], axis=1)
    unique, place = np.unique(keys, return_inverse=True)
    totals = np.array([np.bincount(place, row, minlength=len(unique)) for row in sums])
    users = totals[0].astype(np.int64)
    rising, falling = totals[1 : 1 + len(decays)], totals[1 + len(decays) :]
    low, high = unique // size, unique % size
    return PairCounts(low, high, users, rising, falling, likes, min_users)


def _whole_users(user: IntArray, step: int) -> list[slice]:
    """Slices of about ``step`` rows that cut no user in two."""
    ends = np.flatnonzero(np.diff(user, append=-1)) + 1
    slices, start = [], 0
    while start < len(user):
        stop = int(ends[np.searchsorted(ends, min(start + step, len(user)))])
        slices.append(slice(start, stop))
        start = stop
    return slices


def _count_chunk(
    user: IntArray,
    item: IntArray,
    common: BoolArray,
    size: int,
    reach: int,
    decays: tuple[float, ...],
) -> tuple[IntArray, Weights]:
    """Pairs (k,), and rows of sums (1 + 2 decays, k): distinct users, rising, falling weights."""
    user, item = user[common], item[common]
    place = np.flatnonzero(common)
    user = user - user[0] if len(user) else user
    users = int(user[-1]) + 1 if len(user) else 1
    keys, distances = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for step in unhurried(range(1, min(reach, len(user) - 1) + 1), 1):
        a, b, owner = item[:-step], item[step:], user[step:]
        apart = place[step:] - place[:-step]
        within = (user[:-step] == owner) & (apart <= reach)
        if not within.any():
            break
        mask = within & (a != b)
        a, b = a[mask], b[mask]
        pair = np.minimum(a, b) * size + np.maximum(a, b)
        keys.append((pair * 2 + (a > b)) * users + owner[mask])
        distances.append(apart[mask])
    # Of equal keys the first is kept, which is the closest.
    key, first = np.unique(np.concatenate(keys), return_index=True)
    distance = np.concatenate(distances)[first]
    pair, falls, owner = key // users // 2, key // users % 2, key % users
    unique, place = np.unique(pair, return_inverse=True)
    both = distinct(place * users + owner) // users
    rows = [np.bincount(both, minlength=len(unique)).astype(np.float64)]
    for order in (0, 1):
        mine = falls == order
        for decay in decays:
            weight = decay ** (distance[mine] - 1.0)
            sums = np.bincount(place[mine], weight, minlength=len(unique))
            rows.append(sums.astype(np.float64))
    return unique, np.array(rows)
