"""The local experience replay: past feedback that priors are trained on. Never sent to a bank."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, TypeAlias

import anyio.lowlevel

from lorabank.config import ReplayConfig
from lorabank.types.batches import Batches
from lorabank.types.feedback import Feedback
from lorabank.types.values import parts_of

# Users and batches that a snapshot takes at once: well under a millisecond.
_BLOCK = 512
# Of one batch: the (hashed) user, observations, when it came, bytes; then the feedback's parts.
_Batch: TypeAlias = tuple[Any, ...]


class ExperienceReplay:
    """Bounded in bytes, in observations per user, and in age; the oldest go first.

    It holds flat tuples of text, numbers and arrays. Python's collector of cycles leaves these
    alone after a first look; objects it would walk each time, in front of the event loop.

    Not thread-safe: it belongs to one event loop. A snapshot may be read anywhere.
    """

    def __init__(self, config: ReplayConfig) -> None:
        self._config = config
        self._batches: OrderedDict[int, _Batch] = OrderedDict()
        # Of each user the numbers of the batches, oldest first, and their observations.
        self._users: dict[str, tuple[int, ...]] = {}
        self._rows: dict[str, int] = {}
        self._next = 0
        self._size = 0

    @property
    def size(self) -> int:
        """Bytes of all arrays held."""
        return self._size

    @property
    def users(self) -> int:
        """Number of users with feedback in it."""
        return len(self._users)

    def batches(self, user_key: str | None = None) -> int:
        """Number of batches held, of one user or of all."""
        if user_key is None:
            return len(self._batches)
        return len(self._users.get(user_key, ()))

    def add(self, user_key: str, feedback: Feedback, now: float) -> None:
        """Keep a copy of a batch; ``now`` in unix seconds. Supplied negatives are not kept."""
        if not self._config.enabled:
            return
        limit, number = self._config.max_rows_per_user, self._next
        copy = kept(feedback, limit).copy()
        rows, size = len(copy), copy.nbytes
        self._batches[number] = (user_key, rows, now, size, *parts_of(copy))
        numbers = (*self._users.get(user_key, ()), number)
        rows += self._rows.get(user_key, 0)
        while rows > limit and len(numbers) > 1:
            oldest, numbers = self._batches.pop(numbers[0]), numbers[1:]
            rows -= oldest[1]
            size -= oldest[3]
        self._users[user_key], self._rows[user_key] = numbers, rows
        self._next += 1
        self._size += size
        self._trim(now)

    def forget(self, user_key: str) -> int:
        """Drop all feedback of a user; how many observations went."""
        for number in self._users.pop(user_key, ()):
            self._size -= self._batches.pop(number)[3]
        return self._rows.pop(user_key, 0)

    async def snapshot(self, now: float) -> Batches:
        """Each user's batches that are young enough, oldest first.

        Gives way to other tasks in between; each user's part is of one moment.
        """
        self._trim(now)
        found = Batches()
        taken = 0
        for key in list(self._users):
            if taken >= _BLOCK:
                await anyio.lowlevel.checkpoint()
                taken = 0
            if (numbers := self._users.get(key)) is not None:
                found.add(key, *(self._batches[number][4:] for number in numbers))
                taken += 1 + len(numbers)
        return found

    def _trim(self, now: float) -> None:
        while self._batches:
            number, oldest = next(iter(self._batches.items()))
            if self._size <= self._config.max_bytes and now - oldest[2] <= self._config.ttl:
                return
            self._drop(number)

    def _drop(self, number: int) -> None:
        """The oldest batch of its user."""
        batch = self._batches.pop(number)
        user_key = batch[0]
        self._size -= batch[3]
        self._rows[user_key] -= batch[1]
        others = self._users[user_key][1:]
        if others:
            self._users[user_key] = others
        else:
            del self._users[user_key], self._rows[user_key]


def kept(feedback: Feedback, count: int) -> Feedback:
    """What a replay keeps of a batch: the last ``count`` observations, without negatives."""
    if len(feedback) <= count and feedback.negatives is None:
        return feedback
    return Feedback(
        feedback.x[-count:],
        None if feedback.target is None else feedback.target[-count:],
        items=None if feedback.items is None else feedback.items[-count:],
        reward=None if feedback.reward is None else feedback.reward[-count:],
    )
