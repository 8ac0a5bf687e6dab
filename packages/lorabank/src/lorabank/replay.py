"""The local experience replay: past feedback that priors are trained on. Never sent to a bank."""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field

import anyio.lowlevel

from lorabank.config import ReplayConfig
from lorabank.types.feedback import Feedback

# Users and batches that a snapshot takes at once: well under a millisecond.
_BLOCK = 1024


@dataclass(slots=True, eq=False)
class _Batch:
    """One batch of feedback of one (hashed) user."""

    user_key: str
    feedback: Feedback
    rows: int
    created_at: float
    size: int


@dataclass(slots=True)
class _History:
    """The numbers of a user's batches, oldest first, and how many observations they hold."""

    batches: deque[int] = field(default_factory=deque)
    rows: int = 0


class ExperienceReplay:
    """Bounded in bytes, in observations per user, and in age; the oldest go first.

    Not thread-safe: it belongs to one event loop. A snapshot may be read anywhere.
    """

    def __init__(self, config: ReplayConfig) -> None:
        self._config = config
        self._batches: OrderedDict[int, _Batch] = OrderedDict()
        self._users: dict[str, _History] = {}
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
        history = self._users.get(user_key)
        return len(history.batches) if history else 0

    def add(self, user_key: str, feedback: Feedback, now: float) -> None:
        """Keep a copy of a batch; ``now`` in unix seconds. Supplied negatives are not kept."""
        if not self._config.enabled:
            return
        limit, number = self._config.max_rows_per_user, self._next
        copy = kept(feedback, limit).copy()
        rows, size = len(copy), copy.nbytes
        self._batches[number] = _Batch(user_key, copy, rows, now, size)
        history = self._users.get(user_key)
        if history is None:
            history = self._users[user_key] = _History()
        history.batches.append(number)
        history.rows += rows
        self._next += 1
        self._size += size
        while len(history.batches) > 1 and history.rows > limit:
            self._drop(history.batches[0])
        self._trim(now)

    def forget(self, user_key: str) -> int:
        """Drop all feedback of a user; how many observations went."""
        history = self._users.get(user_key, _History())
        rows = history.rows
        for number in list(history.batches):
            self._drop(number)
        return rows

    async def snapshot(self, now: float) -> dict[str, list[Feedback]]:
        """Each user's batches that are young enough, oldest first.

        Gives way to other tasks in between; each user's part is of one moment.
        """
        self._trim(now)
        found: dict[str, list[Feedback]] = {}
        taken = 0
        for key in list(self._users):
            if taken >= _BLOCK:
                await anyio.lowlevel.checkpoint()
                taken = 0
            if (history := self._users.get(key)) is not None:
                found[key] = [self._batches[number].feedback for number in history.batches]
                taken += 1 + len(found[key])
        return found

    def _trim(self, now: float) -> None:
        while self._batches:
            number, oldest = next(iter(self._batches.items()))
            if self._size <= self._config.max_bytes and now - oldest.created_at <= self._config.ttl:
                return
            self._drop(number)

    def _drop(self, number: int) -> None:
        entry = self._batches.pop(number)
        self._size -= entry.size
        history = self._users[entry.user_key]
        history.batches.remove(number)
        history.rows -= entry.rows
        if not history.batches:
            del self._users[entry.user_key]


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
