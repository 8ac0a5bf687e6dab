"""The outbox: a bounded queue in memory, and what became of the episodes that were offered."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import anyio

from lorabank.breaker import CircuitBreaker
from lorabank.clock import Clock
from lorabank.config import OutboxConfig
from lorabank.delivery import Delivery
from lorabank.logs import get_logger
from lorabank.types.pattern import Pattern
from lorabank.waiting import patience

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An episode that the bank will never take, and why."""

    pattern: Pattern
    reason: str


@dataclass(frozen=True, slots=True)
class DeliveryReport:
    """What became of the episodes that were offered.

    Attributes:
        delivered: the bank has them.
        undelivered: still waiting (on close: given back to the caller here).
        rejected: refused because the outbox stayed full.
        dead: how many were refused for good by the bank.
        dead_letters: the newest of those.
    """

    delivered: int
    undelivered: tuple[Pattern, ...]
    rejected: int
    dead: int
    dead_letters: tuple[DeadLetter, ...]


class MemoryQueue:
    """Episodes in order of arrival. Belongs to one event loop."""

    def __init__(self, dead_letters: int) -> None:
        self._patterns: deque[Pattern] = deque()
        self._changed: anyio.Event | None = None
        self.sending = anyio.Lock(fast_acquire=True)
        self.delivered_count = 0
        self.dead_count = 0
        self.dead: deque[DeadLetter] = deque(maxlen=dead_letters)

    def __len__(self) -> int:
        return len(self._patterns)

    def append(self, patterns: Sequence[Pattern]) -> None:
        """At the end."""
        self._patterns.extend(patterns)
        self.signal()

    def snapshot(self) -> tuple[Pattern, ...]:
        """All that wait."""
        return tuple(self._patterns)

    async def change(self) -> None:
        """Wait until something is added or taken off."""
        if self._changed is None:
            self._changed = anyio.Event()
        await self._changed.wait()

    async def wait_for_some(self) -> None:
        """See `EpisodeQueue.wait_for_some`."""
        while not self._patterns:
            await self.change()

    async def first(self, limit: int) -> Sequence[Pattern]:
        """See `EpisodeQueue.first`."""
        return [self._patterns[i] for i in range(min(limit, len(self._patterns)))]

    async def delivered(self, count: int) -> None:
        """See `EpisodeQueue.delivered`."""
        for _ in range(count):
            self._patterns.popleft()
        self.delivered_count += count
        self.signal()

    async def bury(self, reason: str) -> None:
        """See `EpisodeQueue.bury`."""
        self.dead.append(DeadLetter(self._patterns.popleft(), reason))
        self.dead_count += 1
        self.signal()

    def forget(self, user_key: str) -> None:
        """Drop a user's episodes, waiting or dead. Hold ``sending`` meanwhile."""
        self._patterns = deque(p for p in self._patterns if p.user_key != user_key)
        dead = [letter for letter in self.dead if letter.pattern.user_key != user_key]
        self.dead = deque(dead, maxlen=self.dead.maxlen)
        self.signal()

    def signal(self) -> None:
        """Wake those who wait for a change."""
        if self._changed is not None:
            self._changed.set()
            self._changed = None


class Outbox:
    """A bounded queue with its delivery loop. Belongs to one event loop."""

    def __init__(
        self,
        send: Callable[[Sequence[Pattern]], Awaitable[None]],
        config: OutboxConfig,
        breaker: CircuitBreaker,
        clock: Clock,
    ) -> None:
        self._config = config
        self._queue = MemoryQueue(config.dead_letters)
        self._delivery = Delivery(self._queue, send, config, breaker, clock)
        self._rejected = 0
        self._closed = False

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def _full(self) -> bool:
        return len(self._queue) >= self._config.capacity

    def offer_at_once(self, pattern: Pattern) -> bool:
        """Queue an episode if there is room now; False says nothing about later."""
        if self._closed or self._full:
            return False
        self._queue.append([pattern])
        return True

    async def offer(self, pattern: Pattern) -> bool:
        """Queue an episode, waiting for room up to the budget; False if it was rejected."""
        with anyio.move_on_after(patience(self._config.budget)):
            while self._full and not self._closed:
                await self._queue.change()
        return self.offer_now(pattern)

    def offer_now(self, pattern: Pattern) -> bool:
        """Queue an episode if there is room; False if it was rejected."""
        if self._closed or self._full:
            self._rejected += 1
            reason = "closed" if self._closed else "full"
            log.warning(f"episode rejected: the outbox is {reason}", pattern_id=pattern.id)
            return False
        self._queue.append([pattern])
        return True

    def put_aside(self, patterns: Sequence[Pattern]) -> None:
        """Queue regardless of capacity: used on close, when nobody can wait any more."""
        self._queue.append(patterns)

    def close(self) -> None:
        """Reject whatever comes from now on; what is queued stays for the report."""
        self._closed = True
        self._queue.signal()

    async def forget(self, user_key: str) -> None:
        """Drop a user's episodes, queued or dead. A delivery under way is waited for."""
        async with self._queue.sending:
            self._queue.forget(user_key)

    async def run(self) -> None:
        """The delivery loop; runs until cancelled."""
        await self._delivery.run()

    async def drain(self) -> None:
        """Wait until nothing is left. No long pause holds the last tries back."""
        self._delivery.hurry()
        await self.emptied()

    async def emptied(self) -> None:
        """Wait until nothing is left, at the loop's own pace."""
        while len(self._queue):
            await self._queue.change()

    def report(self) -> DeliveryReport:
        """Counts so far."""
        return DeliveryReport(
            delivered=self._queue.delivered_count,
            undelivered=self._queue.snapshot(),
            rejected=self._rejected,
            dead=self._queue.dead_count,
            dead_letters=tuple(self._queue.dead),
        )
