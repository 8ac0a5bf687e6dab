"""Many users in one call."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import NamedTuple, TypeVar, TypeVarTuple

import anyio
import anyio.lowlevel
import numpy as np

from lorabank.engine import UpdateReport
from lorabank.errors import InvalidInputError, LorabankError
from lorabank.personalizer.adapters import Adapters
from lorabank.personalizer.hot import Hot
from lorabank.personalizer.learner import Learner
from lorabank.personalizer.places import ROW
from lorabank.personalizer.selection import Found, Selection
from lorabank.turns import in_worker
from lorabank.types.arrays import FloatArray, check_finite
from lorabank.types.checks import check_text
from lorabank.types.feedback import Feedback

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
# Multiply-adds that take well under the 5 ms for which the event loop may be held up, also where
# every adapter comes from memory.
INLINE_WORK = 2_000_000
INLINE_USERS = 512
# Users that are looked for before others get their turn.
BLOCK = 256
# The same where all are at hand: below a millisecond, out of cache.
AT_ONCE = 4096


class ManyUpdates(NamedTuple):
    """What `Personalizer.update_many` did for each user: a report, or why nothing was changed."""

    reports: dict[str, UpdateReport]
    failed: dict[str, LorabankError]


class ManyUsers:
    """Serves and updates many users at once. Belongs to one event loop.

    Args:
        adapters: where they are.
        learner: learns for each.
        threads: for work that would hold up the event loop.
        dim: of the space.
        concurrency: users that are read or updated at once.
    """

    def __init__(
        self,
        adapters: Adapters,
        learner: Learner,
        threads: anyio.CapacityLimiter,
        dim: int,
        concurrency: int,
    ) -> None:
        self._adapters = adapters
        self._learner = learner
        self._threads = threads
        self._dim = dim
        self._concurrency = concurrency
        self._last: tuple[list[str], Selection] | None = None

    def chosen(self, users: Sequence[str] | Selection) -> Selection:
        """Users by their ids: the selection of the last call, where they are the same again."""
        if isinstance(users, Selection):
            return users
        if isinstance(users, str) or len(users) == 0:
            return Selection(users)  # which it refuses
        asked = users if type(users) is list else list(users)
        if self._last is None or not _same(asked, self._last[0]):
            self._last = asked[:], Selection(asked)
        return self._last[1]

    async def forward(self, users: Selection, X: FloatArray, out: FloatArray) -> FloatArray:
        """See `Personalizer.forward_many`; as many users as rows."""
        with self._adapters.lasting():
            found = users.found
            if found is None or not found.holds(self._adapters):
                found = users.found = await self._look_up(users.user_ids, X)
            elif found.places is not None:
                self._adapters.use(found.places)
            if found.places is None and self._last is not None and users is self._last[1]:
                self._last = None  # it keeps more in memory than is allowed
            if len(users) <= INLINE_USERS and found.work <= INLINE_WORK:
                return found.forward(X, out)
            return await in_worker(found.forward, X, out, limiter=self._threads)

    async def update(self, feedback: Mapping[str, Feedback]) -> ManyUpdates:
        """See `Personalizer.update_many`."""
        self._check(feedback)
        done = ManyUpdates({}, {})

        async def learn(user_id: str) -> None:
            try:
                done.reports[user_id] = await self._learner.learn(user_id, feedback[user_id])
            except LorabankError as exc:
                done.failed[user_id] = exc

        await self._for_each(feedback, learn)
        return done

    def _check(self, feedback: Mapping[str, Feedback]) -> None:
        for user_id, batch in feedback.items():
            check_text(user_id, "user_id")
            if not isinstance(batch, Feedback):
                raise InvalidInputError(f"feedback[{user_id!r}]", batch, "a Feedback")
            if batch.dim != self._dim:
                raise InvalidInputError(f"feedback[{user_id!r}]", batch.x.shape, f"dim {self._dim}")

    async def _look_up(self, user_ids: Sequence[str], X: FloatArray) -> Found:
        """All of them, as they are at this moment or later."""
        found = await self._at_hand(user_ids)
        if found is not None:
            return found
        check_finite(X, "X")  # later, the kernel finds what is not
        changes = self._adapters.changes
        served_by = await self._find(user_ids, X)
        served = [served_by[user_id] for user_id in user_ids]
        return await self._sorted(len(served), Found.of_kept, self._adapters, changes, served)

    async def _at_hand(self, user_ids: Sequence[str]) -> Found | None:
        """The adapters, if all are hot."""
        version, n = self._adapters.version, len(user_ids)
        places, table = np.empty(n, np.int64), np.empty(n, ROW)
        for start in range(0, n, AT_ONCE):
            if start:
                await anyio.lowlevel.checkpoint()
            part = slice(start, start + AT_ONCE)
            if not self._adapters.find(user_ids[part], places[part], table[part]):
                return None
        return await self._sorted(n, Found.of_hot, self._adapters, version, places, table)

    async def _sorted(self, users: int, function: Callable[[*Ts], T], *arguments: *Ts) -> T:
        """Small work stays inline; more goes to a worker thread."""
        if users <= INLINE_USERS:
            return function(*arguments)
        return await in_worker(function, *arguments, limiter=self._threads)

    async def _find(self, user_ids: Sequence[str], X: FloatArray) -> dict[str, Hot]:
        """Every user's adapter; those that are not in memory are read side by side."""
        found: dict[str, Hot] = {}
        missing: dict[str, FloatArray] = {}
        for row, user_id in enumerate(user_ids, 1):
            if row % BLOCK == 0:
                await anyio.lowlevel.checkpoint()
            check_text(user_id, "user_ids")
            hot = self._adapters.fresh(user_id)
            if hot is None:
                missing[user_id] = X[row - 1]
            else:
                found[user_id] = hot

        async def read(user_id: str) -> None:
            found[user_id] = await self._adapters.read(user_id, missing[user_id])

        await self._for_each(missing, read)
        return found

    async def _for_each(
        self, user_ids: Collection[str], do: Callable[[str], Awaitable[None]]
    ) -> None:
        """``do`` it for each, some at once."""
        left = iter(list(user_ids))

        async def work() -> None:
            for user_id in left:
                await do(user_id)

        async with anyio.create_task_group() as tasks:
            for _ in range(min(self._concurrency, len(user_ids))):
                tasks.start_soon(work)


def _same(asked: list[str], last: list[str]) -> bool:
    """Whether these are the same ids. Where they are the same objects, no text is looked at."""
    try:
        return asked == last
    except (TypeError, ValueError):  # something that is no id can't be compared
        return False
