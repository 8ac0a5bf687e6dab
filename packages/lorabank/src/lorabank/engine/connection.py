"""Everything that belongs to one connected bank: cache, breaker, outbox, and queries under way.

An update keeps the connection that it began with, so connecting to another bank in the middle of
updates mixes nothing up. A connection ends when its last update is done and its outbox is empty,
or when the time to drain is over.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Self

import anyio
from anyio.abc import TaskGroup

from lorabank.breaker import CircuitBreaker
from lorabank.clock import Clock
from lorabank.config import EngineConfig
from lorabank.delivery import Delivery, EpisodeQueue
from lorabank.engine.inquiry import Inquiry
from lorabank.outbox import DeliveryReport, Outbox
from lorabank.protocols import ReasoningBank
from lorabank.types.pattern import Pattern


class Connection:
    """One bank, from connect to disconnect. An update uses it inside ``with``."""

    def __init__(
        self,
        bank: ReasoningBank,
        config: EngineConfig,
        clock: Clock,
        tasks: TaskGroup,
        scope: anyio.CancelScope,
    ) -> None:
        """``scope`` is that of the whole connection, its bank's opening and closing included."""
        self.bank = bank
        self.scope = scope
        self.breaker = CircuitBreaker(
            config.query.failures_to_open, config.query.pause, clock.monotonic
        )
        self.outbox = Outbox(bank.store_patterns, config.outbox, self.breaker, clock)
        self.inquiry = Inquiry(bank, config.query, self.breaker, self.outbox, clock, tasks)
        self.closing = anyio.Event()
        self.closed = anyio.Event()
        self.report: DeliveryReport | None = None
        self._config = config.outbox
        self._clock = clock
        self._pending: OrderedDict[str, Pattern] = OrderedDict()
        self._drained = False
        self._updates = 0
        self._idle: anyio.Event | None = None

    @property
    def degraded(self) -> bool:
        """Whether the breaker keeps the bank from being asked."""
        return not self.breaker.closed

    def __enter__(self) -> Self:
        """An update begins, and is given time to end before the connection does."""
        self._updates += 1
        return self

    def __exit__(self, *_: object) -> None:
        """It has ended, well or not."""
        self._updates -= 1
        if self._updates == 0 and self._idle is not None:
            self._idle.set()

    async def deliver(self, finished: Pattern | None, pending: Pattern) -> bool:
        """Queue the finished episode and remember the new pending one; False if rejected."""
        accepted = True
        if finished is not None and not self.outbox.offer_at_once(finished):
            accepted = await self.outbox.offer(finished)
        # No await from here on: a cancelled update has changed nothing.
        if finished is not None:
            self._pending.pop(finished.id, None)
        if self._drained:
            return self.outbox.offer_now(pending) and accepted
        self._pending[pending.id] = pending
        if len(self._pending) > self._config.pending:
            _, oldest = self._pending.popitem(last=False)
            self.outbox.offer_now(oldest)
        return accepted

    async def forget(self, user_key: str) -> None:
        """Drop a forgotten user's episodes, and answers that may tell of them."""
        for pattern_id in [i for i, p in self._pending.items() if p.user_key == user_key]:
            del self._pending[pattern_id]
        self.inquiry.clear()
        await self.outbox.forget(user_key)

    async def flush(self) -> DeliveryReport:
        """Wait until the outbox is empty, for at most the time to drain."""
        with anyio.move_on_after(self._config.drain):
            await self.outbox.emptied()
        return self.outbox.report()

    async def deliver_from(self, queue: EpisodeQueue) -> None:
        """Deliver the episodes of another queue beside its own, until cancelled."""
        send = self.bank.store_patterns
        await Delivery(queue, send, self._config, self.breaker, self._clock).run()

    async def run(self) -> None:
        """Deliver until asked to close, then finish updates and drain. Runs in its own task."""
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self.outbox.run)
                await self.closing.wait()
                with anyio.move_on_after(self._config.drain) as scope:
                    await self._finish_updates()
                self._hand_over()
                with anyio.CancelScope(deadline=scope.deadline):
                    await self.outbox.drain()
                group.cancel_scope.cancel()
        finally:
            self._hand_over()  # wherever it was cut off: what is not delivered is in the report
            self.outbox.close()
            self.inquiry.close()
            self.report = self.outbox.report()

    async def _finish_updates(self) -> None:
        """Updates get half the time to finish, so that what they leave can still be delivered."""
        if self._updates:
            self._idle = anyio.Event()
            with anyio.move_on_after(self._config.drain / 2):
                await self._idle.wait()

    def _hand_over(self) -> None:
        """No episode waits for its user's next update any more."""
        self._drained = True
        self.outbox.put_aside(list(self._pending.values()))
        self._pending.clear()
