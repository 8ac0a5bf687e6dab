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
    """

    def __init__(self, store: AdapterStore, forget_again: ForgetAgain) -> None:
        self._store = store
        self._forget_again = forget_again
        self._first: list[QueuedEpisode] = []
        self._changed = anyio.Event()

    def notify(self) -> None:
        """Something was committed or taken off."""
        self._changed.set()
        self._changed = anyio.Event()

    async def wait_for_some(self) -> None:
        """See `EpisodeQueue.wait_for_some`."""
        while True:
            changed = self._changed
            if await self._store.queued(1):
                return
            await changed.wait()

    async def emptied(self) -> None:
        """Wait until nothing waits."""
        while True:
            changed = self._changed
            if not await self._store.queued(1):
                return
            await changed.wait()

    async def first(self, limit: int) -> Sequence[Pattern]:
        """See `EpisodeQueue.first`."""
        self._first = await self._store.queued(limit)
        return [episode.pattern for episode in self._first]

    async def delivered(self, count: int) -> None:
        """See `EpisodeQueue.delivered`.

        A user may have been forgotten between reading the episodes and delivering them: then the
        bank is told to forget once more.
        """
        done, self._first = self._first[:count], self._first[count:]
        for user_key in await self._store.settle([episode.number for episode in done]):
            await self._forget_again(user_key)
        self.notify()

    async def bury(self, reason: str) -> None:
        """See `EpisodeQueue.bury`."""
        done, self._first = self._first[:1], self._first[1:]
        await self._store.settle([episode.number for episode in done], dead=reason)
        self.notify()
