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
        self._changed = anyio.Event()
        self.delivered_count = 0
        self.dead_count = 0
        self.dead: deque[DeadLetter] = deque(maxlen=dead_letters)

    def __len__(self) -> int:
        return len(self._patterns)

    def append(self, patterns: Sequence[Pattern]) -> None:
        """At the end."""
        self._patterns.extend(patterns)
        self._signal()

    def snapshot(self) -> tuple[Pattern, ...]:
        """All that wait."""
        return tuple(self._patterns)

    async def change(self) -> None:
        """Wait until something is added or taken off."""
        await self._changed.wait()

    async def wait_for_some(self) -> None:
        """See `EpisodeQueue.wait_for_some`."""
        while not self._patterns:
            await self._changed.wait()

    async def first(self, limit: int) -> Sequence[Pattern]:
        """See `EpisodeQueue.first`."""
        return [self._patterns[i] for i in range(min(limit, len(self._patterns)))]

    async def delivered(self, count: int) -> None:
        """See `EpisodeQueue.delivered`."""
        for _ in range(count):
            self._patterns.popleft()
        self.delivered_count += count
        self._signal()

    async def bury(self, reason: str) -> None:
        """See `EpisodeQueue.bury`."""
        self.dead.append(DeadLetter(self._patterns.popleft(), reason))
        self.dead_count += 1
        self._signal()

    def _signal(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()


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

    def __len__(self) -> int:
        return len(self._queue)

    async def offer(self, pattern: Pattern) -> bool:
        """Queue an episode, waiting for room up to the budget; False if it was rejected."""
        with anyio.move_on_after(self._config.budget):
            while len(self._queue) >= self._config.capacity:
                await self._queue.change()
        if len(self._queue) >= self._config.capacity:
            self._rejected += 1
            log.warning("episode rejected: the outbox is full", capacity=self._config.capacity)
            return False
        self._queue.append([pattern])
        return True

    def put_aside(self, patterns: Sequence[Pattern]) -> None:
        """Queue regardless of capacity: used on close, when nobody can wait any more."""
        self._queue.append(patterns)

    async def run(self) -> None:
        """The delivery loop; runs until cancelled."""
        await self._delivery.run()

    async def drain(self) -> None:
        """Wait until nothing is left. The breaker's pause does not hold the last tries back."""
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
