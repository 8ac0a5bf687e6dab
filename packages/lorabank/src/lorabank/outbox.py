"""The outbox: finished episodes on their way to the bank, in order, none dropped silently."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import anyio

from lorabank.breaker import CircuitBreaker
from lorabank.clock import Clock
from lorabank.config import OutboxConfig
from lorabank.errors import (
    BankRejectedError,
    BankUnavailableError,
    CapabilityError,
    CodecError,
    EmbeddingSpaceError,
    InvalidInputError,
)
from lorabank.logs import get_logger
from lorabank.types.pattern import Pattern
from lorabank.waiting import undisturbed

PERMANENT = (
    BankRejectedError,
    CapabilityError,
    CodecError,
    EmbeddingSpaceError,
    InvalidInputError,
)
PASSING = (BankUnavailableError, OSError, TimeoutError)
# An episode that keeps failing with an error of no known kind would hold everybody else back.
UNKNOWN_FAILURES = 10

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


class Outbox:
    """A bounded queue with one delivery loop. Belongs to one event loop.

    One loop sends in the order of arrival, so each user's episodes arrive in order. A batch that
    fails for good is sent again one by one, so that only the guilty episode is put aside.
    """

    def __init__(
        self,
        deliver: Callable[[Sequence[Pattern]], Awaitable[None]],
        config: OutboxConfig,
        breaker: CircuitBreaker,
        clock: Clock,
    ) -> None:
        self._deliver = deliver
        self._config = config
        self._breaker = breaker
        self._clock = clock
        self._queue: deque[Pattern] = deque()
        self._dead: deque[DeadLetter] = deque(maxlen=config.dead_letters)
        self._delivered = self._rejected = self._dead_count = 0
        self._unknown_failures = 0
        self._changed = anyio.Event()
        self._draining = anyio.Event()
        self._sending = anyio.Lock()
        self._closed = False

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def _full(self) -> bool:
        return len(self._queue) >= self._config.capacity

    async def offer(self, pattern: Pattern) -> bool:
        """Queue an episode, waiting for room up to the budget; False if it was rejected."""
        with anyio.move_on_after(self._config.budget):
            while self._full and not self._closed:
                await self._changed.wait()
        return self.offer_now(pattern)

    def offer_now(self, pattern: Pattern) -> bool:
        """Queue an episode if there is room; False if it was rejected."""
        if self._closed or self._full:
            self._rejected += 1
            reason = "closed" if self._closed else "full"
            log.warning(f"episode rejected: the outbox is {reason}", pattern_id=pattern.id)
            return False
        self._queue.append(pattern)
        self._signal()
        return True

    def put_aside(self, patterns: Sequence[Pattern]) -> None:
        """Queue regardless of capacity: used on close, when nobody can wait any more."""
        self._queue.extend(patterns)
        self._signal()

    def close(self) -> None:
        """Reject whatever comes from now on; what is queued stays for the report."""
        self._closed = True
        self._signal()

    async def forget(self, user_key: str) -> None:
        """Drop a user's episodes, queued or dead. A delivery under way is waited for."""
        async with self._sending:
            kept = [pattern for pattern in self._queue if pattern.user_key != user_key]
            self._queue = deque(kept)
            dead = [letter for letter in self._dead if letter.pattern.user_key != user_key]
            self._dead = deque(dead, maxlen=self._config.dead_letters)
            self._signal()

    async def run(self) -> None:
        """The delivery loop; runs until cancelled."""
        pause = self._config.backoff
        while True:
            await self._wait_for_work()
            await self._wait_for_breaker()
            async with self._sending:
                well = await self._deliver_some()
            if well:
                pause = self._config.backoff
            elif self._draining.is_set():
                await self._clock.sleep(self._config.backoff)
            else:
                await self._rest(pause)
                pause = min(2 * pause, self._config.backoff_max)

    async def drain(self) -> None:
        """Wait until nothing is left. No long pause holds the last tries back."""
        self._draining.set()
        await self.emptied()

    async def emptied(self) -> None:
        """Wait until nothing is left, at the loop's own pace."""
        while self._queue:
            await self._changed.wait()

    def report(self) -> DeliveryReport:
        """Counts so far."""
        return DeliveryReport(
            delivered=self._delivered,
            undelivered=tuple(self._queue),
            rejected=self._rejected,
            dead=self._dead_count,
            dead_letters=tuple(self._dead),
        )

    async def _wait_for_work(self) -> None:
        while not self._queue:
            await self._changed.wait()

    async def _wait_for_breaker(self) -> None:
        while self._breaker.remaining > 0 and not self._draining.is_set():
            await self._rest(self._breaker.remaining)

    async def _rest(self, seconds: float) -> None:
        """Sleep, at most until draining begins."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._cancel_when_draining, group.cancel_scope)
            await self._clock.sleep(seconds)
            group.cancel_scope.cancel()

    async def _cancel_when_draining(self, scope: anyio.CancelScope) -> None:
        await self._draining.wait()
        scope.cancel()

    async def _deliver_some(self) -> bool:
        """Send a batch (one episode when probing or after a failure); whether all is well."""
        if not self._queue:
            return True  # forgotten meanwhile
        size = self._config.batch if self._breaker.closed and not self._unknown_failures else 1
        batch = [self._queue[i] for i in range(min(size, len(self._queue)))]
        error = await self._attempt(batch)
        if error is None:
            self._settle(len(batch))
            return True
        if isinstance(error, PERMANENT):
            if len(batch) == 1:
                self._bury(error)
                return True
            return await self._deliver_one_by_one(len(batch))
        return self._note_failure(error)

    async def _deliver_one_by_one(self, count: int) -> bool:
        for _ in range(count):
            error = await self._attempt([self._queue[0]])
            if error is None:
                self._settle(1)
            elif isinstance(error, PERMANENT):
                self._bury(error)
            else:
                return self._note_failure(error)
        return True

    async def _attempt(self, batch: Sequence[Pattern]) -> Exception | None:
        """Deliver under a deadline; any failure is returned, whatever a foreign bank raises."""
        try:
            with anyio.fail_after(self._config.deadline):
                await undisturbed("store_patterns", self._deliver, batch)
        except Exception as exc:  # noqa: BLE001 - a bank's bug must not end the delivery loop
            return exc
        return None

    def _settle(self, count: int) -> None:
        for _ in range(count):
            self._queue.popleft()
        self._delivered += count
        self._unknown_failures = 0
        self._breaker.success()
        self._signal()

    def _bury(self, error: Exception) -> None:
        pattern = self._queue.popleft()
        self._dead.append(DeadLetter(pattern, f"{type(error).__name__}: {error}"))
        self._dead_count += 1
        self._unknown_failures = 0
        log.error("episode is undeliverable", pattern_id=pattern.id, reason=str(error))
        self._signal()

    def _note_failure(self, error: Exception) -> bool:
        self._breaker.failure()
        log.warning("delivery failed, it will be tried again", error=repr(error))
        if not isinstance(error, PASSING):
            self._unknown_failures += 1
            if self._unknown_failures >= UNKNOWN_FAILURES:
                self._bury(error)
        return False

    def _signal(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()
