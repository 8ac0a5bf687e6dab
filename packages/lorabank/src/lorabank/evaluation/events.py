"""A log in time order, and the events in it that are predicted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from lorabank.errors import InvalidInputError
from lorabank.types.arrays import AnyFloatArray, BoolArray, FloatArray, IntArray, as_float32


@dataclass(frozen=True, slots=True, eq=False)
class Log:
    """What users did with items, each user's rows together and in the order of time.

    Attributes:
        user: (M,) number of the user, ascending.
        item: (M,) position of the item.
        liked: (M,) whether the row is to be predicted.
        time: (M,) float64, never falling within a user.
        first: (users + 1,) where each user's rows begin.
    """

    user: IntArray
    item: IntArray
    liked: BoolArray
    time: AnyFloatArray
    first: IntArray

    @property
    def users(self) -> int:
        """Number of users."""
        return len(self.first) - 1

    def counts(self, users: IntArray, items: int) -> IntArray:
        """(items,) how often each item was liked by these users."""
        rows = self.liked & np.isin(self.user, users)
        counts: IntArray = np.bincount(self.item[rows], minlength=items).astype(np.int64)
        return counts

    def seen_items(self, user: IntArray, seen: IntArray) -> tuple[IntArray, IntArray]:
        """(event, item) for the first ``seen`` rows of each event's user. Both inputs (n,)."""
        event = np.repeat(np.arange(len(user)), seen)
        within = np.arange(len(event)) - np.repeat(np.cumsum(seen) - seen, seen)
        return event, self.item[np.repeat(self.first[user], seen) + within]


@dataclass(frozen=True, slots=True, eq=False)
class Events:
    """Likes to be predicted, each with what was known just before it.

    Attributes:
        user: (n,) ascending; within a user in the order of time.
        target: (n,) item that was liked.
        seen: (n,) rows of the user before this one: those items are not offered again.
        number: (n,) how many events of the same user come before.
        time: (n,) when it happened.
        x: float32 (n, dim), context of the user just before.
    """

    user: IntArray
    target: IntArray
    seen: IntArray
    number: IntArray
    time: AnyFloatArray
    x: FloatArray

    def __len__(self) -> int:
        return len(self.user)

    def where(self, mask: BoolArray) -> Events:
        """The events for which ``mask`` (n,) is true."""
        return Events(
            self.user[mask],
            self.target[mask],
            self.seen[mask],
            self.number[mask],
            self.time[mask],
            self.x[mask],
        )

    def of_users(self, users: IntArray, most: int | None = None) -> Events:
        """The events of some users; of each the first ``most`` alone."""
        mask = np.isin(self.user, users)
        if most is not None:
            mask &= self.number < most
        return self.where(mask)


def ordered_log(
    user: ArrayLike,
    item: ArrayLike,
    liked: ArrayLike,
    time: ArrayLike,
    rng: np.random.Generator,
) -> Log:
    """Sort a log by user and time, equal times of a user in random order.

    The order of a file often follows item numbers; taking it for the order in which things
    happened would let a model predict from it.

    Args:
        user, item, liked, time: (M,) each; users and items are numbers from 0.
        rng: shuffles what happened at the same time.

    Raises:
        InvalidInputError: columns of different length, none at all, or negative numbers.
    """
    users, items = np.asarray(user, np.int64), np.asarray(item, np.int64)
    likes, times = np.asarray(liked, np.bool_), np.asarray(time, np.float64)
    if not (users.shape == items.shape == likes.shape == times.shape) or users.ndim != 1:
        raise InvalidInputError("log", users.shape, "four columns of one length")
    if not len(users) or users.min() < 0 or items.min() < 0:
        raise InvalidInputError("log", users[:1], "rows with users and items numbered from 0")
    order = np.lexsort((rng.random(len(users)), times, users))
    users = users[order]
    first = np.searchsorted(users, np.arange(users[-1] + 2))
    return Log(users, items[order], likes[order], times[order], first.astype(np.int64))


def events_of(log: Log, x: ArrayLike) -> Events:
    """Every like that has an earlier one, with the contexts ``x`` (one row per like of the log)."""
    rows = np.flatnonzero(log.liked)
    user = log.user[rows]
    start = np.searchsorted(user, np.arange(log.users))
    earlier = np.arange(len(rows)) - start[user]
    mask = earlier > 0
    kept = rows[mask]
    return Events(
        user=user[mask],
        target=log.item[kept],
        seen=kept - log.first[user[mask]],
        number=earlier[mask] - 1,
        time=log.time[kept],
        x=as_float32(x, "x")[mask],
    )
