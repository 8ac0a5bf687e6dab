"""Many users in one call."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import NamedTuple

import anyio
import anyio.to_thread

from lorabank.engine import UpdateReport
from lorabank.errors import LorabankError
from lorabank.personalizer.adapters import Adapters
from lorabank.personalizer.hot import Hot
from lorabank.personalizer.learner import Learner
from lorabank.personalizer.selection import Found, Selection
from lorabank.types.arrays import FloatArray, check_finite
from lorabank.types.feedback import Feedback

# Multiply-adds that take well under the 5 ms for which the event loop may be held up, also where
# every adapter comes from memory.
INLINE_WORK = 2_000_000


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
        concurrency: users that are read or updated at once.
    """

    def __init__(
        self,
        adapters: Adapters,
        learner: Learner,
        threads: anyio.CapacityLimiter,
        concurrency: int,
    ) -> None:
        self._adapters = adapters
        self._learner = learner
        self._threads = threads
        self._concurrency = concurrency

    async def forward(self, users: Selection, X: FloatArray, out: FloatArray) -> FloatArray:
        """See `Personalizer.forward_many`; as many users as rows."""
        found = users.found
        if found is None or not found.holds(self._adapters):
            check_finite(X, "X")  # later, the kernel finds what is not
            changes = self._adapters.changes
            hot = await self._find(dict(zip(users.user_ids, X, strict=True)))
            found = Found.of(self._adapters, changes, [hot[user_id] for user_id in users.user_ids])
            users.found = found
        if found.work <= INLINE_WORK:
            return found.forward(X, out)
        return await anyio.to_thread.run_sync(found.forward, X, out, limiter=self._threads)

    async def update(self, feedback: Mapping[str, Feedback]) -> ManyUpdates:
        """See `Personalizer.update_many`."""
        done = ManyUpdates({}, {})

        async def learn(user_id: str) -> None:
            try:
                done.reports[user_id] = await self._learner.learn(user_id, feedback[user_id])
            except LorabankError as exc:
                done.failed[user_id] = exc

        await self._for_each(feedback, learn)
        return done

    async def _find(self, contexts: Mapping[str, FloatArray]) -> dict[str, Hot]:
        """Every user's adapter; those that are not in memory are read side by side."""
        found: dict[str, Hot] = {}
        for user_id in contexts:
            hot = self._adapters.fresh(user_id)
            if hot is not None:
                found[user_id] = hot

        async def read(user_id: str) -> None:
            found[user_id] = await self._adapters.read(user_id, contexts[user_id])

        await self._for_each([u for u in contexts if u not in found], read)
        return found

    async def _for_each(
        self, user_ids: Iterable[str], do: Callable[[str], Awaitable[None]]
    ) -> None:
        """``do`` it for each, some at once."""
        left = iter(list(user_ids))

        async def work() -> None:
            for user_id in left:
                await do(user_id)

        async with anyio.create_task_group() as tasks:
            for _ in range(self._concurrency):
                tasks.start_soon(work)
