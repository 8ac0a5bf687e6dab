"""The store's outbox as a queue that the delivery loop can serve."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterable, Sequence

import anyio

from lorabank.clock import Clock
from lorabank.delivery import PASSING
from lorabank.errors import BankClosedError, StoreError
from lorabank.logs import get_logger
from lorabank.stores import AdapterStore, Duty, QueuedEpisode
from lorabank.types.pattern import Pattern

# Not the last word on what is asked of a bank.
PASSED_ON = (*PASSING, BankClosedError, StoreError)

ForgetAgain = Callable[[Duty], Awaitable[object]]

log = get_logger(__name__)


class StoreQueue:
    """An `EpisodeQueue` over an `AdapterStore`. Belongs to one event loop.

    Of the processes that share the store, the one that ``leads`` delivers everybody's episodes. Who
    leads may change in the middle of a delivery; ids make a double one a single one.

    A user may be forgotten between reading the episodes and delivering them, or the process that
    forgets may die before it told the bank. The store keeps what is owed; it is done here.

    Attributes:
        leads: whether this process delivers. Call `notify` when it changes.
        delivered_count: episodes given to the bank by this process; given again, one counts again.
    """

    def __init__(self, store: AdapterStore, forget_again: ForgetAgain, clock: Clock) -> None:
        self._store = store
        self._forget_again = forget_again
        self._clock = clock
        self._first: list[QueuedEpisode] = []
        self.sending = anyio.Lock()
        self.leads = False
        self.delivered_count = 0
        self._refused: set[Duty] = set()  # by the bank, for good
        self._changed = anyio.Event()

    def notify(self) -> None:
        """Something was committed or taken off, or may be due now."""
        self._changed.set()
        self._changed = anyio.Event()

    async def wait_for_some(self) -> None:
        """See `EpisodeQueue.wait_for_some`."""
        while True:
            changed = self._changed
            if self.leads and await self._has_work():
                return
            await changed.wait()

    async def emptied(self) -> None:
        """Wait until nothing waits, and nothing is on its way."""
        woken = False
        while True:
            changed = self._changed
            async with self.sending:  # what is sent may leave somebody to be forgotten again
                if not await self._has_work():
                    return
            if not woken:  # other processes' episodes come without notice
                self.notify()
                woken, changed = True, self._changed
            await changed.wait()

    async def first(self, limit: int) -> Sequence[Pattern]:
        """See `EpisodeQueue.first`."""
        self._first = await self._store.queued(limit)
        if not self._first:
            self.notify()
        await self._forget(await self._owed_before(_users(self._first)))
        return [episode.pattern for episode in self._first]

    async def delivered(self, count: int) -> None:
        """See `EpisodeQueue.delivered`."""
        done, self._first = self._first[:count], self._first[count:]
        self.delivered_count += len(done)  # before they are off the queue, for `Personalizer.stats`
        if not await self._settle(done, None):
            return  # nobody was forgotten meanwhile
        # Whose episodes are still on their way stays owed, should this process die behind them.
        later = _users(self._first)
        owed = await self._owed(self._clock.wall())
        await self._forget(duty for duty in owed if duty.key not in later)

    async def bury(self, reason: str) -> None:
        """See `EpisodeQueue.bury`."""
        done, self._first = self._first[:1], self._first[1:]
        await self._settle(done, reason)

    async def _settle(self, done: Sequence[QueuedEpisode], reason: str | None) -> list[str]:
        """Take them off; the keys of users who were forgotten since they were made."""
        late = await self._store.settle(done, reason)
        self.notify()
        return late

    async def _has_work(self) -> bool:
        return bool(await self._store.queued(1) or await self._owed(self._clock.wall()))

    async def _owed(self, now: float) -> list[Duty]:
        duties = await self._store.duties("forget", now)
        return [duty for duty in duties if duty not in self._refused]

    async def _owed_before(self, users: set[str]) -> list[Duty]:
        """What is due, and of users who were forgotten and have come back whatever is owed.

        Those once more before their new episodes: afterwards it would take all.
        """
        owed = await self._owed(math.inf)
        if not owed:
            return []
        due = set(await self._owed(self._clock.wall()))
        return [duty for duty in owed if duty in due or duty.key in users]

    async def _forget(self, duties: Iterable[Duty]) -> None:
        for duty in duties:
            try:
                await self._forget_again(duty)
            except PASSED_ON:
                raise
            except Exception:  # it won't, or can't for a fault of its own: that holds nobody back
                log.exception("the bank won't forget a user", user_key=duty.key)
                self._refused.add(duty)
            else:
                await self._store.discharge(duty)
            self.notify()


def _users(episodes: Sequence[QueuedEpisode]) -> set[str]:
    return {episode.pattern.user_key for episode in episodes}
