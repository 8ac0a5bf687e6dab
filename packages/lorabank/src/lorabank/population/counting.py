"""Counting what was liked before and after what, each user once per pair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lorabank.numerics.ranges import distinct, run_starts
from lorabank.turns import give_way, unhurried
from lorabank.types.arrays import BoolArray, IntArray

Weights: TypeAlias = NDArray[np.float64]
# Occurrences of pairs in memory at a time, before they are added up; the key of an occurrence stays
# below 2 ** 63 with as many. They are sorted, and runs are added up: of all that is done to them
# nothing keeps the interpreter's lock, as `np.unique` and `np.bincount` would.
CHUNK = 1 << 20
# Rows whose items are counted at a time.
ROWS = 1 << 18


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
    likes = distinct_users(user, item, size)
    common = likes[item] >= min_users
    parts = [
        _count_chunk(user[part], item[part], common[part], size, reach, decays)
        for part in unhurried(_whole_users(user, max(1, CHUNK // reach)), 1)
    ]
    pairs, totals = _merged(parts, 1 + 2 * len(decays))
    users = totals[0].astype(np.int64)
    rising, falling = totals[1 : 1 + len(decays)], totals[1 + len(decays) :]
    low, high = pairs // size, pairs % size
    return PairCounts(low, high, users, rising, falling, likes, min_users)


def distinct_users(user: IntArray, item: IntArray, size: int) -> IntArray:
    """(size,) how many distinct users each item has, in rows (M,) that are sorted by user."""
    users = np.zeros(size, np.int64)
    for part in unhurried(_whole_users(user, ROWS), 1):
        pairs = distinct(user[part] * size + item[part])
        users += np.bincount(pairs % size, minlength=size)
    return users


def _whole_users(user: IntArray, step: int) -> list[slice]:
    """Slices of about ``step`` rows that cut no user in two."""
    ends = np.flatnonzero(np.diff(user, append=-1)) + 1
    slices, start = [], 0
    while start < len(user):
        stop = int(ends[np.searchsorted(ends, min(start + step, len(user)))])
        slices.append(slice(start, stop))
        start = stop
    return slices


class _Occurrences(NamedTuple):
    """The closest occurrences of a chunk, one per pair, user and order, ascending by these.

    Attributes:
        pair: (k,) ``low * size + high``.
        owner: (k,) numbers of the users.
        falls: (k,) whether high came before low.
        distance: (k,) likes apart, 1 for neighbours.
    """

    pair: IntArray
    owner: IntArray
    falls: BoolArray
    distance: IntArray


def _count_chunk(
    user: IntArray,
    item: IntArray,
    common: BoolArray,
    size: int,
    reach: int,
    decays: tuple[float, ...],
) -> tuple[IntArray, Weights]:
    """Pairs (k,), and rows of sums (1 + 2 decays, k): distinct users, rising, falling weights."""
    pair, owner, falls, distance = _closest(user, item, common, size, reach)
    starts = run_starts(pair)
    new = (np.diff(owner, prepend=-1) != 0).astype(np.float64)
    new[starts] = 1.0
    rows = [np.add.reduceat(new, starts)]
    for order in (False, True):
        mine = falls == order
        for decay in unhurried(decays, 1):
            weight = (decay ** np.arange(reach))[distance - 1]
            rows.append(np.add.reduceat(np.where(mine, weight, 0.0), starts))
    return pair[starts], np.array(rows)


def _closest(
    user: IntArray, item: IntArray, common: BoolArray, size: int, reach: int
) -> _Occurrences:
    """Of the pairs in the rows of a chunk that are ``common``."""
    place = np.flatnonzero(common)
    if not len(place):
        return _Occurrences(place, place, place > 0, place)
    user, item = user[place] - user[place[0]], item[place]
    # Numbers of the items of this chunk are small enough for a key, and in the same order.
    items = distinct(item)
    number = np.zeros(size, np.int64)
    number[items] = np.arange(len(items))
    item, users = number[item], int(user[-1]) + 1
    found = [np.zeros(0, np.int64)]
    for step in unhurried(range(1, min(reach, len(user) - 1) + 1), 1):
        a, b, owner = item[:-step], item[step:], user[step:]
        apart = place[step:] - place[:-step]
        within = (user[:-step] == owner) & (apart <= reach)
        if not within.any():
            break
        mask = np.flatnonzero(within & (a != b))
        a, b = a[mask], b[mask]
        pair = np.minimum(a, b) * len(items) + np.maximum(a, b)
        key = (pair * users + owner[mask]) * 2 + (a > b)
        found.append(key * reach + apart[mask] - 1)
    key = np.sort(np.concatenate(found))
    give_way()
    # Of occurrences that differ in their distance alone the first is the closest.
    key = key[run_starts(key // reach)]
    give_way()
    rest, falls = key // reach // 2, key // reach % 2 > 0
    give_way()
    pair, owner = rest // users, rest % users
    give_way()
    pair = items[pair // len(items)] * size + items[pair % len(items)]
    return _Occurrences(pair, owner, falls, key % reach + 1)


def _merged(parts: Sequence[tuple[IntArray, Weights]], rows: int) -> tuple[IntArray, Weights]:
    """Pairs (p,) of all parts, ascending, and their sums (rows, p), the first part first."""
    pairs = np.concatenate([np.zeros(0, np.int64), *(part[0] for part in parts)])
    order = np.argsort(pairs, kind="stable")
    pairs = pairs[order]
    starts = run_starts(pairs)
    totals = np.zeros((rows, len(starts)))
    for row in unhurried(range(rows), 1):
        sums = np.concatenate([np.zeros(0), *(part[1][row] for part in parts)])
        totals[row] = np.add.reduceat(sums[order], starts)
    return pairs[starts], totals
