"""The store's outbox as a queue that the delivery loop can serve."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import anyio

from lorabank.stores import AdapterStore, QueuedEpisode
from lorabank.types.pattern import Pattern

ForgetAgain = Callable[[str], Awaitable[object]]


class StoreQueue:
    """An `EpisodeQueue` over an `AdapterStore`. Belongs to one event loop.

    Episodes committed by other processes are delivered too, by whoever looks first; ids make a
    double delivery a single one.

    A user may be forgotten between reading the episodes and delivering them. The store tells so
    when they are settled; then the bank is told to forget once more, until it has done so.
    """

    def __init__(self, store: AdapterStore, forget_again: ForgetAgain) -> None:
        self._store = store
        self._forget_again = forget_again
        self._first: list[QueuedEpisode] = []
        self.sending = anyio.Lock()
        self._late: set[str] = set()
        self._changed = anyio.Event()

    def notify(self) -> None:
        """Something was committed or taken off."""
        self._changed.set()
        self._changed = anyio.Event()

    async def wait_for_some(self) -> None:
        """See `EpisodeQueue.wait_for_some`."""
        while not self._late:
            changed = self._changed
            if await self._store.queued(1):
                return
            await changed.wait()

    async def emptied(self) -> None:
        """Wait until nothing waits."""
        # Wakes the loop: other processes' episodes come without notice.
        self.notify()
        while True:
            changed = self._changed
            if not self._late and not await self._store.queued(1):
                return
            await changed.wait()

    async def first(self, limit: int) -> Sequence[Pattern]:
        """See `EpisodeQueue.first`."""
        await self._forget_late()
        self._first = await self._store.queued(limit)
        if not self._first:
            self.notify()
        return [episode.pattern for episode in self._first]

    async def delivered(self, count: int) -> None:
        """See `EpisodeQueue.delivered`."""
        done, self._first = self._first[:count], self._first[count:]
        await self._settle(done, None)
        await self._forget_late()

    async def bury(self, reason: str) -> None:
        """See `EpisodeQueue.bury`."""
        done, self._first = self._first[:1], self._first[1:]
        await self._settle(done, reason)

    async def _settle(self, done: Sequence[QueuedEpisode], reason: str | None) -> None:
        self._late.update(await self._store.settle(done, reason))
        self.notify()

    async def _forget_late(self) -> None:
        for user_key in sorted(self._late):
            await self._forget_again(user_key)
            self._late.discard(user_key)
            self.notify()
