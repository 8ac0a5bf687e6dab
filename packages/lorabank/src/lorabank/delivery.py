"""Delivering episodes to a bank: in order, with retries, none dropped silently.

The loop is the same wherever the episodes wait: in memory (`lorabank.outbox`) or in a table.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

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


class EpisodeQueue(Protocol):
    """Where episodes wait. Only the delivery loop takes them off, or who holds ``sending``.

    Attributes:
        sending: held while episodes are read, sent and taken off.
    """

    sending: anyio.Lock

    async def wait_for_some(self) -> None:
        """Return once at least one episode waits."""
        ...

    async def first(self, limit: int) -> Sequence[Pattern]:
        """The oldest episodes, at most ``limit``, without taking them off.

        Raises: BankUnavailableError if the queue needs the bank for something else, and it failed.
        """
        ...

    async def delivered(self, count: int) -> None:
        """The first ``count`` of those are with the bank: take them off.

        Raises: BankUnavailableError as `first` does, once they are taken off.
        """
        ...

    async def bury(self, reason: str) -> None:
        """The first one will never be taken by the bank: put it aside."""
        ...


class Delivery:
    """One delivery loop over one queue.

    One loop sends in the order of arrival, so each user's episodes arrive in order. A batch that
    fails for good is sent again one by one, so that only the guilty episode is put aside.
    """

    def __init__(
        self,
        queue: EpisodeQueue,
        send: Callable[[Sequence[Pattern]], Awaitable[None]],
        config: OutboxConfig,
        breaker: CircuitBreaker,
        clock: Clock,
    ) -> None:
        self._queue = queue
        self._send = send
        self._config = config
        self._breaker = breaker
        self._clock = clock
        self._unknown_failures = 0
        self._hurry = anyio.Event()

    def hurry(self) -> None:
        """No longer let long pauses hold deliveries back: closing has begun."""
        self._hurry.set()

    async def run(self) -> None:
        """Deliver until cancelled."""
        pause = self._config.backoff
        while True:
            await self._queue.wait_for_some()
            await self._wait_for_breaker()
            async with self._queue.sending:
                well = await self._try_some()
            if well:
                pause = self._config.backoff
            elif self._hurry.is_set():
                await self._clock.sleep(self._config.backoff)
            else:
                await self._rest(pause)
                pause = min(2 * pause, self._config.backoff_max)

    async def _wait_for_breaker(self) -> None:
        while self._breaker.remaining > 0 and not self._hurry.is_set():
            await self._rest(self._breaker.remaining)

    async def _rest(self, seconds: float) -> None:
        """Sleep, at most until there is a hurry."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._cancel_in_a_hurry, group.cancel_scope)
            await self._clock.sleep(seconds)
            group.cancel_scope.cancel()

    async def _cancel_in_a_hurry(self, scope: anyio.CancelScope) -> None:
        await self._hurry.wait()
        scope.cancel()

    async def _try_some(self) -> bool:
        """Whether all is well. What the queue itself asks of the bank may fail as well."""
        try:
            return await self._deliver_some()
        except PASSING as exc:
            self._breaker.failure()
            log.warning("the bank failed a queue, it will be asked again", error=repr(exc))
            return False

    async def _deliver_some(self) -> bool:
        """Send a batch (one episode when probing or after a failure); whether all is well."""
        size = self._config.batch if self._breaker.closed and not self._unknown_failures else 1
        batch = await self._queue.first(size)
        if not batch:
            return True  # forgotten meanwhile, or delivered by another process
        error = await self._attempt(batch)
        if error is None:
            await self._settle(len(batch))
        elif not isinstance(error, PERMANENT):
            return await self._note_failure(batch[0], error)
        elif len(batch) == 1:
            await self._bury(batch[0], error)
        else:
            return await self._deliver_one_by_one(batch)
        return True

    async def _deliver_one_by_one(self, batch: Sequence[Pattern]) -> bool:
        for pattern in batch:
            error = await self._attempt([pattern])
            if error is None:
                await self._settle(1)
            elif isinstance(error, PERMANENT):
                await self._bury(pattern, error)
            else:
                return await self._note_failure(pattern, error)
        return True

    async def _attempt(self, batch: Sequence[Pattern]) -> Exception | None:
        """Send under a deadline; any failure is returned, whatever a foreign bank raises."""
        try:
            with anyio.fail_after(self._config.deadline):
                await undisturbed("store_patterns", self._send, batch)
        except Exception as exc:  # noqa: BLE001 - a bank's bug must not end the delivery loop
            return exc
        return None

    async def _settle(self, count: int) -> None:
        self._unknown_failures = 0
        self._breaker.success()
        await self._queue.delivered(count)

    async def _bury(self, pattern: Pattern, error: Exception) -> None:
        self._unknown_failures = 0
        log.error("episode is undeliverable", pattern_id=pattern.id, reason=str(error))
        await self._queue.bury(f"{type(error).__name__}: {error}")

    async def _note_failure(self, pattern: Pattern, error: Exception) -> bool:
        self._breaker.failure()
        log.warning("delivery failed, it will be tried again", error=repr(error))
        if not isinstance(error, PASSING):
            self._unknown_failures += 1
            if self._unknown_failures >= UNKNOWN_FAILURES:
                await self._bury(pattern, error)
        return False
